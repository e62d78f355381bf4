import pytest

from keras_griffin.names import did_you_mean, nearest

pytestmark = pytest.mark.any_backend


def test_the_nearest_names():
    names = ["griffin_100m", "griffin_200m", "hawk_100m", "mqa_100m"]
    assert nearest("griffin", names) == ["griffin_100m", "griffin_200m"]
    assert nearest("GRIFIN_100M", names, 1) == ["griffin_100m"]
    assert nearest("", names) == nearest("xyz", names) == [] and did_you_mean(3, names) == "."
