"""AdamW as Griffin's authors mask it."""

import keras

#: Parts of a variable's path that spare it from weight decay, with everything below them.
_SPARED_LAYERS = {"rg_lru", "cg_lru", "token_embedding"}
_SPARED_NAMES = {"bias", "scale"}


@keras.saving.register_keras_serializable("keras_griffin")
class AdamW(keras.optimizers.AdamW):
    """AdamW whose weight decay spares the recurrence's parameters, the embedding, biases and the norms' scales.

    The rule reads the variables' paths and ranks when the optimizer is built, so it also holds for an optimizer that
    was loaded with its model. Gradients are clipped by their global norm.

    Args:
        learning_rate: a float or a schedule.
        weight_decay: per step, as a share of the learning rate.
        beta_2: the decay of the second moment, 0.96 in the recipe.
        global_clipnorm: the greatest norm of all gradients together; None for no limit.
        **kwargs: as for `keras.optimizers.AdamW`.

    Examples:
        >>> from keras_griffin.training import AdamW
        >>> AdamW(1e-3).weight_decay
        0.1

    Reference: the fine-tuning recipe released with RecurrentGemma, with beta_2 0.96; De et al. 2024 (arXiv 2402.19427),
    section 3.1, for AdamW.
    """

    def __init__(self, learning_rate=1e-3, weight_decay=0.1, beta_2=0.99, global_clipnorm=1.0, name="adamw", **kwargs):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            beta_2=beta_2,
            global_clipnorm=global_clipnorm,
            name=name,
            **kwargs,
        )

    def build(self, variables):
        """Choose the variables that decay, then make the moments."""
        self.exclude_from_weight_decay(var_list=[variable for variable in variables if not decays(variable)])
        super().build(variables)


def decays(variable: keras.Variable) -> bool:
    """Whether weight decay acts on a variable: on matrices outside the recurrence and the embedding."""
    *layers, name = variable.path.split("/")
    return len(variable.shape) > 1 and name not in _SPARED_NAMES and _SPARED_LAYERS.isdisjoint(layers)
