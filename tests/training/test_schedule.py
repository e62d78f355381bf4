import pytest

from keras_griffin.training import warm_up_then_cosine


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    schedule = warm_up_then_cosine(1e-2, steps=1000, warm_up=0.1, final=0.1)
    rates = [float(schedule(step)) for step in (0, 50, 100, 550, 1000, 2000)]
    assert rates == pytest.approx([1e-3, 5.5e-3, 1e-2, 5.5e-3, 1e-3, 1e-3], rel=1e-5)
