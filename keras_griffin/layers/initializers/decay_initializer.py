"""The initial decays of an RG-LRU."""

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import POSITIVE, one_of
from keras_griffin.layers.base.configured import Configured, range_rule

#: The options of a decay, as `DecayInitializer` and the layers that use it check them.
DECAY_INITIALIZER = one_of(("paper", "ring"))
DECAY_RANGE = range_rule(
    "0 < low < high < 1 in float32", lambda low, high: 0.0 < np.float32(low) < np.float32(high) < 1.0
)


@keras.saving.register_keras_serializable("keras_griffin")
class DecayInitializer(Configured, keras.initializers.Initializer):
    """Draw Lambda so that the decays sigmoid(Lambda) cover a range.

    `"ring"`, the released code's rule: a itself is in the range, with a^2 uniform, so that a complex decay would be
    uniform by area on a ring. `"paper"`: a^exponent, the strongest decay of one step, is uniform on the range. With the
    range (0.9, 0.999) and the exponent 8, a^8 covers [0.430, 0.992] under the first and [0.9, 0.999] under the second,
    with which a model needs more steps to learn text and digits, and fewer to copy from long rows
    (`benchmarks/results/first_decays.md`, `experiments/results/gates.md`, `pixels.md` and `selective_copying.md`).

    With l = log(a), Lambda = l - log(1 - exp(l)).

    Args:
        rule: `"ring"` or `"paper"`.
        decay_range: `(low, high)`, 0 < low < high < 1.
        exponent: c, the power to which the recurrence gate raises the decay.
        seed: an integer or a `keras.random.SeedGenerator`; None for a fresh seed.

    Raises:
        ValueError: the rule is unknown, the range is not inside (0, 1), or the exponent is not positive and finite.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.4; Orvieto et al. 2023 (arXiv 2303.06349), lemma 3.2.
    """

    def __init__(
        self,
        rule: str = "ring",
        decay_range: tuple[float, float] = (0.9, 0.999),
        exponent: float = 8.0,
        seed: int | keras.random.SeedGenerator | None = None,
    ):
        self.rule = self.checked(DECAY_INITIALIZER, rule=rule)
        self.decay_range = self.checked(DECAY_RANGE, decay_range=decay_range)
        self.exponent = self.checked(POSITIVE, exponent=exponent)
        self.seed = seed

    def __call__(self, shape, dtype=None):
        """Draw Lambda of the given shape."""
        # decay = u^(1 / power), with u uniform between the powers of the range's bounds that the rule makes uniform.
        bound_power, power = (1, self.exponent) if self.rule == "paper" else (2, 2)
        low, high = (bound**bound_power for bound in self.decay_range)
        uniform = keras.initializers.RandomUniform(low, high, seed=self.seed)(shape, "float32")
        log_decay = ops.log(uniform) / power
        return ops.cast(log_decay - ops.log(-ops.expm1(log_decay)), dtype or keras.config.floatx())
