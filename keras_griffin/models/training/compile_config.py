"""How a model with logits is compiled, and compiled again when it is loaded.

When loading, Keras alone would look for the variables of an optimizer that has none yet, does not compile a model that
overrides `compile`, and on PyTorch saves most optimizers under the backend's class name, for which another backend
would import PyTorch.
"""

import inspect
import warnings

import keras

#: Keras's losses and metrics of probabilities that have no `from_logits`: classes and functions.
_OF_PROBABILITIES = (
    *(keras.losses.CategoricalGeneralizedCrossEntropy, keras.losses.KLDivergence, keras.losses.Poisson),
    *(keras.metrics.KLDivergence, keras.metrics.Poisson),
    *(keras.losses.categorical_generalized_cross_entropy, keras.losses.kl_divergence, keras.losses.poisson),
)
#: Where Keras keeps the classes that only one backend has, such as PyTorch's optimizers.
_BACKENDS = "keras.src.backend."


class CompiledAgain:
    """A base, placed before `keras.Model`, for models that any backend compiles again as they were saved."""

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None, **kwargs):
        """Compile; see `keras.Model.compile`. Without a loss, the model keeps the one that it has.

        Raises:
            ValueError: a loss or a metric would take the logits for probabilities.
        """
        fault = _fault_of(loss=loss, metrics=metrics, weighted_metrics=weighted_metrics)
        if fault is not None:
            raise ValueError(f"compile: {fault}")
        loss = getattr(self, "loss", None) if loss is None else loss
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)

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
    if "optimizer" not in config:
        # Keras takes it out when it writes HDF5.
        config = {**config, "optimizer": keras.saving.serialize_keras_object(model.optimizer)}
    config = without_backends(config)
    if config["jit_compile"] == keras.Sequential(name="any").jit_compile:
        config["jit_compile"] = "auto"
    if config["optimizer"] is not None:
        config["optimizer"]["built"] = model.optimizer.built
    return config


def compile_again(model: keras.Model, config: dict) -> None:
    """Compile a model from `compile_config`, also with a loss that `compile` would refuse, which it warns of."""
    is_built = config["optimizer"] is not None and config["optimizer"].get("built", True)
    arguments = keras.saving.deserialize_keras_object(without_backends(config))
    fault = _fault_of(**{name: arguments.get(name) for name in ("loss", "metrics", "weighted_metrics")})
    if fault is None:
        model.compile(**arguments)
    else:
        # An earlier version took it, and the file's weights are as good as they are.
        warnings.warn(f"compile_from_config: {fault} Compile the model again.", stacklevel=2)
        keras.Model.compile(model, **arguments)
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


def _fault_of(**given) -> str | None:
    """The rule that a loss or a metric, as given to `compile`, breaks by taking logits for probabilities; or None."""
    for name, values in given.items():
        for each in keras.tree.flatten(values):
            if each is None or not _is_of_probabilities(name, each):
                continue
            rule = "a metric must read logits, which are this model's outputs: use one with from_logits=True"
            if name == "loss":
                rule = (
                    "the loss must read logits, which are this model's outputs: leave it out to keep model.loss, "
                    "or use one with from_logits=True"
                )
            return f"{rule}. Got {each!r}."
    return None


def _is_of_probabilities(name, given) -> bool:
    if isinstance(given, str):
        given = keras.losses.get(given) if name == "loss" else getattr(keras.metrics, given, None)
    if given in _OF_PROBABILITIES or type(given) in _OF_PROBABILITIES:
        return True
    if isinstance(given, keras.losses.Loss | keras.metrics.Metric):
        return getattr(given, "from_logits", None) is False
    parameters = inspect.signature(given).parameters if callable(given) else {}
    return "from_logits" in parameters and parameters["from_logits"].default is False
