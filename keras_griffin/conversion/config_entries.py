"""What the configs of all families share: the entries of a `config.json`, read and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_griffin.checks import COUNT
from keras_griffin.conversion.foreign import folder_of
from keras_griffin.files.json_object import read_json_object
from keras_griffin.models import GriffinConfig
from keras_griffin.models.saving.preset_files import CONFIG


class Entries(dict):
    """The entries of a `config.json`, with checks; `names` are their names in the file where they differ."""

    def __init__(self, function_name: str, entries: Mapping, names: Mapping[str, str] | None = None):
        super().__init__(entries)
        self._function_name = function_name
        self._names = names or {}

    def require(self, holds: bool, name: str, rule: str) -> None:
        """Raise an error about an entry unless its rule holds."""
        if not holds:
            name, received = self._names.get(name, name), self.get(name)
            raise ValueError(f"{self._function_name}: in config.json, {name} {rule}. Got {received!r}.")

    def require_values(self, **values: Any) -> None:
        """Check that entries have these values; a flag that is null is false, as for `transformers`."""
        for name, value in values.items():
            if isinstance(value, bool):
                self.require((self.get(name) or False) == value, name, f"must be {str(value).lower()}")
            else:
                self.require(self.get(name) == value, name, f"must be {value!r}")

    def require_counts(self, *names: str) -> None:
        """Check that entries are integers of at least 1."""
        for name in names:
            self.require(COUNT.holds(self[name]), name, f"must be {COUNT.words}")


def read_entries(function_name: str, path: Path) -> dict:
    """The `config.json` in a checkpoint's folder, or beside its file; an error if there is none."""
    folder = folder_of(path)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{function_name}: the folder must have a {CONFIG}. Got {str(folder)!r} without one.")
    return read_json_object(function_name, folder / CONFIG)


def common_entries(architecture: str, model_type: str, config: GriffinConfig, dtype: str) -> dict:
    """The entries of every `config.json` of `transformers`."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def require_saveable(family: str, config: GriffinConfig, *rules: tuple[bool, str, object], **fields: Any) -> None:
    """Check what `transformers` supports: rules, whether they hold and what they are about, and values of fields."""
    for name, value in fields.items():
        received = getattr(config, name)
        rules = (*rules, (received == value, f"{name} must be {value}", received))
    for holds, rule, received in rules:
        if not holds:
            raise ValueError(f"save_huggingface: {rule} for {family}. Got {received}.")
