"""How a saved model is compiled again.

Keras alone would look for the variables of an optimizer that has none yet, and compiles no model whose `compile` is its
own. These are functions: a functional model's class can't inherit from a class that others inherit from too.
"""

import keras


def compile_config(model: keras.Model, config: dict) -> dict:
    """Keras's config of a model's compilation, and, beside the optimizer's settings, whether it has variables yet."""
    return {**config, "optimizer": {**config["optimizer"], "built": model.optimizer.built}}


def compile_again(model: keras.Model, config: dict) -> None:
    """Compile a model as `compile_config` says."""
    is_built = config["optimizer"].get("built", True)
    model.compile(**keras.saving.deserialize_keras_object(config))
    if is_built:
        model.optimizer.build(model.trainable_variables)
