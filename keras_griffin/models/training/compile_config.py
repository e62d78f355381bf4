"""How a model with logits is compiled, and compiled again when it is loaded.

Keras alone would load variables of an optimizer that has none yet, would not compile a model that overrides `compile`,
and on PyTorch saves most optimizers under the backend's class name, for which another backend would import PyTorch.
"""

import inspect
import warnings
from typing import Any

import keras

#: Keras's losses and metrics of probabilities that have no `from_logits`: classes and functions.
_OF_PROBABILITIES = (
    *(keras.losses.CategoricalGeneralizedCrossEntropy, keras.losses.KLDivergence, keras.losses.Poisson),
    *(keras.metrics.KLDivergence, keras.metrics.Poisson),
    *(keras.losses.categorical_generalized_cross_entropy, keras.losses.kl_divergence, keras.losses.poisson),
)


class CompiledAgain:
    """A base, placed before `keras.Model`, for models that any backend compiles again as they were saved."""

    optimizer: Any
    trainable_variables: Any

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None, **kwargs):
        """Compile; see `keras.Model.compile`. Without a loss, the model keeps the one that it has.

        A loss or a metric that would take the logits for probabilities is an error.
        """
        fault = _fault_of(loss=loss, metrics=metrics, weighted_metrics=weighted_metrics)
        if fault is not None:
            raise ValueError(f"compile: {fault}")
        loss = getattr(self, "loss", None) if loss is None else loss
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)

    def get_compile_config(self):
        """The compile arguments, independent of the backend, and whether the optimizer has variables yet."""
        config = super().get_compile_config()
        if not config:
            return config
        if "optimizer" not in config:
            # Keras takes it out when it writes HDF5.
            config = {**config, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}
        config = _without_backends(config)
        # What "auto" gives depends on the backend.
        if config["jit_compile"] == keras.Sequential(name="any").jit_compile:
            config["jit_compile"] = "auto"
        if config["optimizer"] is not None:
            config["optimizer"]["built"] = self.optimizer.built
        return config

    def compile_from_config(self, config):
        """Compile as saved, also with a loss that `compile` refuses, which it warns of."""
        is_built = config["optimizer"] is not None and config["optimizer"].get("built", True)
        arguments = keras.saving.deserialize_keras_object(_without_backends(config))
        fault = _fault_of(**{name: arguments.get(name) for name in ("loss", "metrics", "weighted_metrics")})
        if fault is None:
            self.compile(**arguments)
        else:
            # An earlier version took it, and the file's weights are as good as they are.
            warnings.warn(f"compile_from_config: {fault} Compile the model again.", stacklevel=2)
            keras.Model.compile(self, **arguments)
        if is_built:
            self.optimizer.build(self.trainable_variables)


def _without_backends(config):
    """A Keras config, or a part of one, with optimizers of one backend under the name that all backends share."""
    if isinstance(config, (list, tuple)):
        return type(config)(_without_backends(part) for part in config)
    if not isinstance(config, dict):
        return config
    config = {key: _without_backends(part) for key, part in config.items()}
    module, class_name = config.get("module"), config.get("class_name")
    if not isinstance(module, str) or not module.startswith("keras.src.backend."):
        return config
    if not isinstance(getattr(keras.optimizers, str(class_name), None), type):
        raise ValueError(
            f"compile_from_config: a backend-specific class must be a Keras optimizer. Got {module}.{class_name}."
        )
    return {**config, "module": "keras.optimizers", "registered_name": None}


def _fault_of(**given) -> str | None:
    """The rule that a loss or a metric, as given to `compile`, breaks by taking logits for probabilities; or None."""
    for name, values in given.items():
        rule, hint = "a metric must read logits", "use"
        if name == "loss":
            rule, hint = "the loss must read logits", "leave it out to keep model.loss, or use"
        for each in keras.tree.flatten(values):
            if each is not None and _is_of_probabilities(name, each):
                return f"{rule}, which are this model's outputs: {hint} one with from_logits=True. Got {each!r}."
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
