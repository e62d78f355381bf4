"""AdamW with weight decay masked as by Griffin's authors."""

import numbers
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops

from keras_griffin.checks import FLAG, FRACTION, NOT_NEGATIVE, POSITIVE, checked
from keras_griffin.layers import UNITS
from keras_griffin.mixers import MIXERS


@keras.saving.register_keras_serializable("keras_griffin")
class AdamW(keras.optimizers.AdamW):
    r"""AdamW without weight decay for the recurrence's parameters, the embedding, biases and the norms' scales.

        g = mean of the gradients of `gradient_accumulation_steps` batches, clipped by their global norm
        m += (1 - beta_1) (g - m);   v += (1 - beta_2) (g^2 - v)
        w -= learning_rate (weight_decay w + sqrt(1 - beta_2^n) / (1 - beta_1^n) m / (sqrt(v) + epsilon))

    Neither does it apply to the dynamics of a recurrence (see `optimizer_groups`), whose steps are multiplied by
    `dynamics_scale`: the authors of S4, S5 and the LRU train them with a learning rate of at most 1e-3. The variables'
    paths and ranks decide, when the optimizer is built.

    With gradient accumulation, clipping, weight decay and the moments apply once per update, and n counts updates; a
    learning rate schedule counts batches. Every batch has the same share in the mean. Gradients accumulated for the
    next update are saved.

    Args:
        learning_rate: a float or a schedule.
        weight_decay: per update, relative to the learning rate.
        beta_2: the decay of the second moment, 0.96 in the recipe.
        global_clipnorm: the maximum norm of all gradients together; None for no limit.
        drop_nonfinite: whether to treat the gradients of a batch as zero if their norm is not finite; `dropped` counts
            such batches. Otherwise such a batch makes every weight NaN, through the clipping.
        dynamics_scale: the learning rate of the dynamics, in units of `learning_rate`.
        **kwargs: as for `keras.optimizers.AdamW`, including `gradient_accumulation_steps`.

    Raises:
        ValueError: a number is out of its range; or `use_ema` is combined with gradient accumulation: Keras would
            average at every batch, not at every update.

    Examples:
        >>> from keras_griffin.training import AdamW
        >>> AdamW(1e-3).weight_decay
        0.1

    Reference: the fine-tuning recipe released with RecurrentGemma, with beta_2 0.96; De et al. 2024 (arXiv 2402.19427),
    section 3.1, for AdamW.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | Callable | keras.Variable = 1e-3,
        weight_decay: float = 0.1,
        beta_2: float = 0.99,
        global_clipnorm: float | None = 1.0,
        drop_nonfinite: bool = False,
        dynamics_scale: float = 1.0,
        name: str = "adamw",
        **kwargs: Any,
    ):
        # Keras checks a schedule, a function or a variable.
        if isinstance(learning_rate, numbers.Number | str):
            learning_rate = checked("AdamW", NOT_NEGATIVE, learning_rate=learning_rate)
        super().__init__(
            learning_rate,
            weight_decay=checked("AdamW", NOT_NEGATIVE, weight_decay=weight_decay),
            beta_2=checked("AdamW", FRACTION, beta_2=beta_2),
            global_clipnorm=checked("AdamW", POSITIVE.or_none(), global_clipnorm=global_clipnorm),
            name=name,
            **kwargs,
        )
        if self.use_ema and self.gradient_accumulation_steps:
            raise ValueError(
                "AdamW: use_ema must be False with gradient accumulation. "
                f"Got use_ema {self.use_ema} and gradient_accumulation_steps {self.gradient_accumulation_steps}."
            )
        self.drop_nonfinite = checked("AdamW", FLAG, drop_nonfinite=drop_nonfinite)
        self.dynamics_scale = checked("AdamW", NOT_NEGATIVE, dynamics_scale=dynamics_scale)
        self._dynamics: frozenset[int] = frozenset()
        self._dropped: Any = self.add_variable((), dtype="int32", name="dropped") if drop_nonfinite else None

    @property
    def dropped(self) -> int:
        """How many batches were dropped because their gradients were not finite."""
        return 0 if self._dropped is None else int(ops.convert_to_numpy(self._dropped))

    def build(self, variables):
        """Choose the variables that decay, and the dynamics, then create the moments."""
        groups = optimizer_groups(variables)
        self.exclude_from_weight_decay(var_list=groups["no_decay"] + groups["dynamics"])
        super().build(variables)
        self._dynamics = frozenset(self._get_variable_index(variable) for variable in groups["dynamics"])

    def apply(self, grads, trainable_variables=None):
        """Update the variables; see `keras.optimizers.Optimizer.apply`."""
        # TensorFlow's gradient of a lookup contains a row once per lookup, and would be clipped by a norm other than
        # the sum's; reshaping sums the rows. The gradient may not know its shape.
        shapes = [variable.shape for variable in trainable_variables or self._trainable_variables]
        grads = [g if g is None else ops.reshape(g, shape) for g, shape in zip(grads, shapes, strict=True)]
        if self._dropped is not None and not self._drops_in_updates:
            grads = self._without_nonfinite(grads)
        super().apply(grads, trainable_variables)

    @property
    def _drops_in_updates(self):
        """Whether a batch is dropped where it is clipped, which needs the norm too; before, if it is accumulated."""
        return self._dropped is not None and not self.gradient_accumulation_steps

    def _count(self, finite):
        self._dropped.assign_add(ops.cast(ops.logical_not(finite), "int32"))

    def _without_nonfinite(self, grads, clipped=None):
        """The gradients, or what they became when they were clipped; zeros if their norm is not finite."""
        fused = self._fused()
        if fused is not None:
            grads, finite = fused.without_nonfinite(grads)
            self._count(finite)
            return grads
        # Keras clips by the same sum, so a compiler computes it once.
        squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads if g is not None]
        finite = ops.isfinite(sum(squares))
        # Of divided gradients, it is divided too.
        finite = finite.full_tensor() if hasattr(finite, "full_tensor") else finite
        self._count(finite)
        kept = grads if clipped is None else clipped
        return [g if g is None else ops.where(finite, g, ops.zeros_like(g)) for g in kept]

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable; see `keras.optimizers.AdamW`."""
        super().update_step(gradient, variable, self._rate(variable, learning_rate))

    def _rate(self, variable, learning_rate):
        is_scaled = self.dynamics_scale != 1.0 and self._get_variable_index(variable) in self._dynamics
        return self.dynamics_scale * learning_rate if is_scaled else learning_rate

    def _fused(self):
        """The module that clips, decays and updates in one pass, on PyTorch; None where Keras does it step by step."""
        if keras.backend.backend() != "torch" or not self.built:
            return None
        from keras_griffin.models.training import torch_adamw

        return torch_adamw if torch_adamw.serves(self) else None

    def _clip_gradients(self, grads):
        if self._fused() is not None:
            # It clips and drops while it updates.
            return grads
        clipped = super()._clip_gradients(grads)
        return self._without_nonfinite(grads, clipped) if self._drops_in_updates else clipped

    def _apply_weight_decay(self, variables):
        # On PyTorch, Keras's method fails if there is nothing to decay.
        decaying = [variable for variable in variables if self._use_weight_decay(variable)]
        if decaying and self._fused() is None:
            super()._apply_weight_decay(decaying)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        fused = self._fused()
        if fused is None:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
        else:
            fused.update(self, grads, trainable_variables, learning_rate)

    def get_config(self):
        """The constructor's arguments."""
        ours = {"drop_nonfinite": self.drop_nonfinite, "dynamics_scale": self.dynamics_scale}
        return {**super().get_config(), **ours}


def optimizer_groups(variables: Iterable[keras.Variable]) -> dict[str, list[keras.Variable]]:
    """Split variables by how they are trained, for an optimizer other than `AdamW`.

    - `"decay"`: weight decay applies: matrices outside the recurrence and the embedding.
    - `"no_decay"`: it does not.
    - `"dynamics"`: it does not, and a smaller learning rate may be right: the weights that set how a recurrence's state
      evolves. They stand below a layer named `dynamics`, as in Mamba, or in `dynamics_weights` of a unit of
      `keras_griffin.layers.UNITS` with its default name, as nu, theta and gamma of the LRU. An RG-LRU has none.

    Args:
        variables: the `trainable_variables` of any model with layers of this package.

    Returns:
        `{"decay": [...], "no_decay": [...], "dynamics": [...]}`, with every variable in one of them, in the given
        order.

    Examples:
        >>> import keras_griffin
        >>> from keras_griffin.models.training.optimizer import optimizer_groups
        >>> layer = keras_griffin.layers.GatedMLP(hidden_width=24, name="mlp")
        >>> layer.build((None, 8))
        >>> [variable.path for variable in optimizer_groups(layer.trainable_variables)["no_decay"]]
        ['mlp/gate/bias', 'mlp/up/bias', 'mlp/down/bias']
    """
    groups: dict[str, list[keras.Variable]] = {"decay": [], "no_decay": [], "dynamics": []}
    units = (name for name, unit in UNITS.items() if not unit.decays)
    # Layers without weight decay.
    spared = {"token_embedding"}.union(units, *(mixer.undecayed for mixer in MIXERS.values()))
    for variable in variables:
        *layers, name = variable.path.split("/")
        # Keras numbers the default names of a second layer and further ones.
        unit = UNITS.get(re.sub(r"_\d+$", "", layers[-1])) if layers else None
        if "dynamics" in layers or (unit is not None and name in unit.dynamics_weights):
            group = "dynamics"
        elif len(variable.shape) > 1 and name not in ("bias", "scale") and spared.isdisjoint(layers):
            group = "decay"
        else:
            group = "no_decay"
        groups[group].append(variable)
    return groups
