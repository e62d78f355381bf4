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


def test_a_course_without_steps_is_refused():
    with pytest.raises(ValueError, match=r"^warm_up_then_cosine: steps must be an integer of at least 1\. Got 0\.$"):
        warm_up_then_cosine(1e-2, steps=0)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("learning_rate", value) for value in (-1, float("nan"), True, "1e-3")),
        *(("steps", value) for value in (-1, 2.5, True, "10")),
        *(("warm_up", value) for value in (-0.1, 1.0, True, "0.1")),
        *(("final", value) for value in (-0.1, 1.5, True, None)),
    ],
)
def test_numbers_that_are_none_are_refused(argument, value):
    arguments = {"learning_rate": 1e-2, "steps": 10, argument: value}
    with pytest.raises(ValueError, match=rf"^warm_up_then_cosine: {argument} must be .* Got {value!r}\.$"):
        warm_up_then_cosine(**arguments)


def test_a_constant_rate_rises_linearly_and_stays():
    schedule = warm_up_then_constant(1e-2, warm_up_steps=100)
    rates = [float(schedule(step)) for step in (0, 50, 100, 101, 10**6)]
    assert rates == pytest.approx([1e-4, 5.05e-3, 1e-2, 1e-2, 1e-2], rel=1e-5)
    assert float(warm_up_then_constant(1e-2, 1)(0)) == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("argument", "value"), [("learning_rate", -1), ("learning_rate", "1"), ("warm_up_steps", 0), ("warm_up_steps", 2.5)]
)
def test_a_constant_rate_of_no_numbers_is_refused(argument, value):
    arguments = {"learning_rate": 1e-2, "warm_up_steps": 10, argument: value}
    with pytest.raises(ValueError, match=rf"^warm_up_then_constant: {argument} must be .* Got {value!r}\.$"):
        warm_up_then_constant(**arguments)
