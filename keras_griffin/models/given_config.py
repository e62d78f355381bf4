"""The config with which a model is created, or what to write instead."""

import dataclasses
import inspect
from collections.abc import Mapping

import keras

from keras_griffin.models.config import GriffinConfig
from keras_griffin.shapes import ModelOptions


class GivenConfig:
    """A base, placed before `keras.Model`, for models whose constructor takes a `GriffinConfig` as `config`."""

    def __new__(cls, *positional, **options):
        """Refuse options without a config. Not in `__init__`, which Python does not call without its arguments."""
        # Keras calls this without any.
        is_without = options and not positional and "config" not in options
        if is_without and "config" in inspect.signature(cls.__init__).parameters:
            config_of(cls, None, (), options)
        return super().__new__(cls, *positional, **options)


def config_of(kind: type, config, others: tuple, options: Mapping[str, object]) -> GriffinConfig:
    """The config of a model of class `kind`; its other arguments, positional and by name, must be Keras's options."""
    name = kind.__name__
    if any(isinstance(each, keras.KerasTensor) for each in keras.tree.flatten(config)):
        raise ValueError(
            f"{name}: a copy must be made by copy.deepcopy(model), or {name}.from_config(model.get_config()) for fresh "
            "weights; keras.models.clone_model would lose the config. Got tensors."
        )
    if isinstance(config, dict):
        config = GriffinConfig(**config)
    fields = {field.name for field in dataclasses.fields(GriffinConfig)}
    if not isinstance(config, GriffinConfig) or others or fields & options.keys():
        preset = f", or {name}.from_preset({config!r}) for a preset" if isinstance(config, str) else ""
        got = [repr(each) for each in (config, *others) if each is not None and not isinstance(each, GriffinConfig)]
        got += [f"{key}={value!r}" for key, value in options.items() if key in fields]
        raise ValueError(
            f"{name}: the sizes must be in one config: {name}(GriffinConfig(vocabulary_size=256, width=64, "
            f"num_layers=3, num_heads=2)){preset}. Got {', '.join(got) or 'none'}."
        )
    unknown = [f"{key}={value!r}" for key, value in options.items() if key not in ModelOptions.__annotations__]
    if unknown:
        known = ", ".join(("dtype", "tokenizer", "rematerialize", *ModelOptions.__annotations__))
        raise ValueError(f"{name}: an option must be one of {known}. Got {', '.join(unknown)}.")
    return config
