"""An optimizer for pre-training a language model, with the field's usual recipe."""

import math

import keras

from keras_griffin.checks import COUNT, NOT_NEGATIVE, checked
from keras_griffin.models.training.optimizer import AdamW
from keras_griffin.training.schedule import warm_up_then_cosine

#: The largest number of parameters for which the learning-rate rule holds.
MOST_PARAMETERS = 10**10


def default_optimizer(
    model: keras.Model,
    learning_rate: float | None = None,
    *,
    steps: int | None = None,
    warm_up: float = 0.03,
    final: float = 0.1,
    weight_decay: float = 0.1,
    beta_2: float = 0.95,
    epsilon: float = 1e-8,
    clip_norm: float | None = 1.0,
    accumulation: int = 1,
    drop_nonfinite: bool = True,
    dynamics_scale: float = 1.0,
) -> AdamW:
    """AdamW with gradient clipping and accumulation and, for a run of known length, warm-up and a cosine schedule.

    The defaults are those of GPT-3 and of most models since, such as Mamba: decay 0.1, betas 0.9 and 0.95, gradients
    clipped to a norm of 1, a cosine that ends at a tenth of the peak. The Griffin paper names AdamW and gives no
    numbers. With batches of fewer than about 10,000 tokens, as on one small machine, a beta_2 of 0.99 averages the
    second moment over enough of them.

    Args:
        model: the model to train; its size sets the learning rate.
        learning_rate: the peak; None for `default_learning_rate(model)`, a starting point for a search.
        steps: batches in the whole run, `epochs * num_batches`, even if gradients are accumulated; None for a constant
            learning rate.
        warm_up: the share of the steps in which the learning rate rises.
        final: the learning rate's last value, and its first, as a share of the peak.
        weight_decay: as a share of the learning rate; see `AdamW` for the weights it excludes.
        beta_2: the decay of the second moment.
        epsilon: keeps the denominator above zero. (Keras's default, 1e-7, affects the rows of rare tokens.)
        clip_norm: the maximum global norm of an update's accumulated gradient; None for no limit.
        accumulation: batches whose gradients are averaged for one update.
        drop_nonfinite: skip gradients that are not finite, which would make every weight NaN; see `AdamW`.
            `NumericsMonitor` finds their cause.
        dynamics_scale: the learning rate of a recurrence's dynamics, in units of the learning rate; see `AdamW`.

    Returns:
        An `AdamW`, for `model.compile`.

    Raises:
        ValueError: a number is out of range, or the model is too large for the learning-rate rule.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import default_optimizer
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> optimizer = default_optimizer(model, 1e-3, steps=1000, accumulation=4)
        >>> model.compile(optimizer, model.loss)

    Reference: Brown et al. 2020 (arXiv 2005.14165), appendix B; Gu and Dao 2023 (arXiv 2312.00752), appendix E.2;
    Hoffmann et al. 2022 (arXiv 2203.15556) for the end of the cosine.
    """
    owner = "default_optimizer"
    accumulation = checked(owner, COUNT, accumulation=accumulation)
    checked(owner, COUNT.or_none(), steps=steps)
    learning_rate = checked(owner, NOT_NEGATIVE.or_none(), learning_rate=learning_rate)
    peak = default_learning_rate(model) if learning_rate is None else float(learning_rate)
    return AdamW(
        peak if steps is None else warm_up_then_cosine(peak, steps, warm_up=warm_up, final=final),
        weight_decay=weight_decay,
        beta_2=beta_2,
        epsilon=epsilon,
        global_clipnorm=clip_norm,
        gradient_accumulation_steps=None if accumulation == 1 else accumulation,
        drop_nonfinite=drop_nonfinite,
        dynamics_scale=dynamics_scale,
    )


def default_learning_rate(model: keras.Model) -> float:
    r"""A learning rate for a model of this size.

        0.003239 - 0.0001395 ln N

    with N the parameters without the embedding: 1.3e-3 for a million, 6.7e-4 for 100 million, 3.5e-4 for a billion. It
    was fitted to Transformers and to batches of half a million tokens: a starting point for a search.

    Args:
        model: any built model with layers of this package.

    Returns:
        The peak of a schedule.

    Raises:
        ValueError: the model has more than 1e10 parameters, beyond the range of the rule.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import default_learning_rate
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> f"{default_learning_rate(model):.1e}"
        '1.8e-03'

    Reference: Kaplan et al. 2020 (arXiv 2001.08361), appendix D.6.
    """
    sizes = [
        math.prod(variable.shape)
        for variable in model.trainable_variables
        if "token_embedding" not in variable.path.split("/")
    ]
    if not 1 <= sum(sizes) <= MOST_PARAMETERS:
        raise ValueError(
            f"default_learning_rate: the model must have 1 to {MOST_PARAMETERS:.0e} parameters besides its embedding. "
            f"Got {sum(sizes)}."
        )
    return 0.003239 - 0.0001395 * math.log(sum(sizes))
