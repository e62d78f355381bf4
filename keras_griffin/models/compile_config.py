"""How a saved model is compiled again.

Keras alone would look for the variables of an optimizer that has none yet, does not compile a model that overrides
`compile`, and on PyTorch saves most optimizers under the backend's class name, for which another backend would import
PyTorch.
"""

import keras

#: Where Keras keeps the classes that only one backend has, such as PyTorch's optimizers.
_BACKENDS = "keras.src.backend."


class CompiledAgain:
    """A base, placed before `keras.Model`, for models that any backend compiles again as they were saved."""

    def get_compile_config(self):
        """The compile arguments, independent of the backend."""
        return compile_config(self, super().get_compile_config())

    def compile_from_config(self, config):
        """Compile as saved."""
        compile_again(self, config)


def compile_config(model: keras.Model, config: dict) -> dict:
    """Keras's config of a model's compilation, independent of the backend.

    It also records whether the optimizer has variables yet. `jit_compile` is "auto" if it has the value that "auto"
    gives, which depends on the backend.
    """
    if not config:
        return config
    config = without_backends(config)
    if config["jit_compile"] == keras.Sequential(name="any").jit_compile:
        config["jit_compile"] = "auto"
    if config["optimizer"] is not None:
        config["optimizer"]["built"] = model.optimizer.built
    return config


def compile_again(model: keras.Model, config: dict) -> None:
    """Compile a model from `compile_config`."""
    is_built = config["optimizer"] is not None and config["optimizer"].get("built", True)
    model.compile(**keras.saving.deserialize_keras_object(without_backends(config)))
    if is_built:
        model.optimizer.build(model.trainable_variables)


def without_backends(config):
    """A Keras config with every backend-specific optimizer under the name that all backends share.

    Deserialising one by Keras's name for it on PyTorch imports PyTorch, which crashes a TensorFlow process.

    Args:
        config: a config, or a part of one: dictionaries, lists and their contents.

    Raises:
        ValueError: a backend-specific class is not a Keras optimizer.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(without_backends(part) for part in config)
    if not isinstance(config, dict):
        return config
    config = {key: without_backends(part) for key, part in config.items()}
    module, class_name = config.get("module"), config.get("class_name")
    if not isinstance(module, str) or not module.startswith(_BACKENDS):
        return config
    if not isinstance(getattr(keras.optimizers, str(class_name), None), type):
        raise ValueError(
            f"compile_from_config: a backend-specific class must be a Keras optimizer. Got {module}.{class_name}."
        )
    return {**config, "module": "keras.optimizers", "registered_name": None}
