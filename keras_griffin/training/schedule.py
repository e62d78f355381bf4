"""The learning-rate schedules of a run."""

import keras

from keras_griffin.checks import COUNT, FRACTION, NOT_NEGATIVE, Rule, checked

#: Of a warm-up, which must leave some steps for the cosine.
_SHARE = Rule("a number of at least 0 and less than 1", lambda value: FRACTION.holds(value) and value < 1)


def warm_up_then_cosine(
    learning_rate: float, steps: int, *, warm_up: float = 0.03, final: float = 0.05
) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that rises linearly to its peak, then falls along half a cosine to its first value.

    Keras evaluates a schedule for each batch, even if gradients are accumulated: steps are batches, not updates.

    Args:
        learning_rate: the peak.
        steps: the length of the whole schedule, `epochs * num_batches` of a `fit`.
        warm_up: the share of the steps in which it rises; 0 to begin at the peak.
        final: the first and the last value, as a share of the peak.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        ValueError: a number is out of range; for example, there is no step, or none after the warm-up.

    Examples:
        >>> from keras_griffin.training import warm_up_then_cosine
        >>> schedule = warm_up_then_cosine(1e-3, steps=100)
        >>> [f"{float(schedule(step)):.5f}" for step in (0, 3, 100)]
        ['0.00005', '0.00100', '0.00005']
    """
    owner = "warm_up_then_cosine"
    learning_rate = checked(owner, NOT_NEGATIVE, learning_rate=learning_rate)
    steps = checked(owner, COUNT, steps=steps)
    warm_up, final = checked(owner, _SHARE, warm_up=warm_up), checked(owner, FRACTION, final=final)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=final * learning_rate,
        decay_steps=(1.0 - warm_up) * steps,
        alpha=final,
        warmup_target=learning_rate,
        warmup_steps=warm_up * steps,
    )


def warm_up_then_constant(learning_rate: float, warm_up_steps: int) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that rises linearly and then stays, for a run whose length is not known.

    Keras evaluates a schedule for each batch, even if gradients are accumulated: steps are batches, not updates.

    Args:
        learning_rate: the last value.
        warm_up_steps: the steps in which it rises; the first value is `learning_rate / warm_up_steps`.

    Returns:
        A `keras.optimizers.schedules.CosineDecay` that does not decay.

    Raises:
        ValueError: a number is out of range.

    Examples:
        >>> from keras_griffin.training import warm_up_then_constant
        >>> schedule = warm_up_then_constant(1e-3, warm_up_steps=100)
        >>> [f"{float(schedule(step)):.5f}" for step in (0, 100, 10_000)]
        ['0.00001', '0.00100', '0.00100']
    """
    owner = "warm_up_then_constant"
    learning_rate = checked(owner, NOT_NEGATIVE, learning_rate=learning_rate)
    warm_up_steps = checked(owner, COUNT, warm_up_steps=warm_up_steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / warm_up_steps,
        decay_steps=1,
        alpha=1.0,
        warmup_target=learning_rate,
        warmup_steps=warm_up_steps,
    )
