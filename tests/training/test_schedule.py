import pytest

from keras_griffin.training import warm_up_then_constant, warm_up_then_cosine

pytestmark = pytest.mark.any_backend


def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine():
    schedule = warm_up_then_cosine(1e-2, steps=1000, warm_up=0.1, final=0.1)
    rates = [float(schedule(step)) for step in (0, 50, 100, 550, 1000, 2000)]
    assert rates == pytest.approx([1e-3, 5.5e-3, 1e-2, 5.5e-3, 1e-3, 1e-3], rel=1e-5)


def test_without_a_warm_up_it_begins_at_the_peak():
    schedule = warm_up_then_cosine(1e-2, steps=10, warm_up=0.0, final=0.5)
    assert [float(schedule(step)) for step in (0, 5, 10)] == pytest.approx([1e-2, 7.5e-3, 5e-3], rel=1e-5)


def test_a_constant_rate_rises_linearly_and_stays():
    schedule = warm_up_then_constant(1e-2, warm_up_steps=100)
    rates = [float(schedule(step)) for step in (0, 50, 100, 101, 10**6)]
    assert rates == pytest.approx([1e-4, 5.05e-3, 1e-2, 1e-2, 1e-2], rel=1e-5)
    assert float(warm_up_then_constant(1e-2, 1)(0)) == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("argument", "values"),
    {
        "learning_rate": (-1, float("nan"), "1e-3"),
        "steps": (0, 2.5),
        "warm_up": (-0.1, 1.0),
        "final": (-0.1, 1.5),
    }.items(),
)
def test_numbers_that_are_none_are_refused(argument, values):
    for value in values:
        arguments = {"learning_rate": 1e-2, "steps": 10, argument: value}
        with pytest.raises(ValueError, match=rf"^warm_up_then_cosine: {argument} must be .* Got {value!r}\.$"):
            warm_up_then_cosine(**arguments)
    for arguments in ((-1, 10), (1e-2, 0)):
        with pytest.raises(ValueError, match=r"^warm_up_then_constant: \w+ must be .* Got (-1|0)\.$"):
            warm_up_then_constant(*arguments)
