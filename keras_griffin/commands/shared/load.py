"""Load what the command line names: a model, from a file, a folder or the Hub, and a tokenizer."""

import contextlib
import json
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_griffin import backends
from keras_griffin.commands.shared.errors import CommandError, first_line, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.runs import MODEL
from keras_griffin.files.private_cache import private_cache
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel
from keras_griffin.models.presets import TRAINED
from keras_griffin.models.saving.hub import SCHEME
from keras_griffin.names import did_you_mean
from keras_griffin.program import is_command_line
from keras_griffin.tokenizers import ByteTokenizer, Tokenizer, load_tokenizer
from keras_griffin.tokenizers.load_tokenizer import TOKENIZERS

#: Tokenizers that are made from the path of their file, by its name.
_FILES: dict[str, Callable[[str], Any]] = {cls.file_name: cls for cls in TOKENIZERS if cls is not ByteTokenizer}


def load_text_model(
    command: str, name: str, dtype: str | None = None, *, adapter: str | None = None, option: str = "--model"
) -> LanguageModel:
    """A model with its tokenizer; without one, a model with 256 ids is assumed to read bytes.

    `command` and `option` are the names in error messages; the others are the values of `--model` and the like.
    """
    with refusals_of_the_tokenizer(f"{command}: {option} must come with its tokenizer. Got {name!r}:"):
        model = load_model(command, name, dtype, option)
    if model.tokenizer is None and model.config.vocabulary_size == ByteTokenizer.vocabulary_size:
        model.tokenizer = ByteTokenizer()
    if model.tokenizer is None:
        raise CommandError(
            f"{command}: {option} must come with a tokenizer, or have a vocabulary of the "
            f"{ByteTokenizer.vocabulary_size} bytes. "
            f"Got {name!r} with {model.config.vocabulary_size} ids and no tokenizer."
        )
    if adapter is not None:
        with refusals(), refusals_of_the_disk(command, "--adapter must be a file that can be read", adapter):
            model.load_adapter(adapter)
    return model


def load_model(command: str, name: str, dtype: str | None = None, option: str = "--model") -> LanguageModel:
    """The model in a `.keras` file, in the folder of a run, in what `from_preset` reads, or on the Hugging Face Hub."""
    path = Path(name)
    file = _keras_file(name)
    if file is not None:
        if dtype is not None:
            raise CommandError(
                f"{command}: --dtype must not be given for a .keras file, which has its own. Got {dtype!r}."
            )
        return _load_keras_file(command, file, option)
    is_named = name.startswith(SCHEME) or (name in TRAINED and not path.exists())
    # An empty name would be the current folder; the name of a size of the paper would give random weights.
    if not name or not (is_named or path.exists()):
        raise CommandError(
            f"{command}: {option} must be a .keras file, a folder, {SCHEME}OWNER/NAME or {', '.join(TRAINED)}. "
            f"Got {name!r}{did_you_mean(name, TRAINED)}"
        )
    with refusals(ImportError, OSError):
        return Griffin.from_preset(name if is_named else path.absolute(), dtype=dtype)


def load_any_model(command: str, name: str, option: str) -> keras.Model:
    """The same, or any other model of Keras in a `.keras` file; what is no such file is loaded in float32.

    Keras's safe mode keeps code in such a file from being run, but nothing limits the memory that it asks for.
    """
    file = _keras_file(name)
    if file is None:
        return load_model(command, name, "float32", option)
    return _load_keras_file(command, file, option, is_any=True)


@contextlib.contextmanager
def refusals_of_the_tokenizer(rule: str):
    """Inside the `with` block, a model whose tokenizer can't be loaded is an error; its message begins with `rule`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The model is loaded without its tokenizer")
        try:
            yield
        except UserWarning as warning:
            raise CommandError(f"{rule} {warning}") from warning


def load_named_tokenizer(command: str, path: str | None, option: str = "--tokenizer") -> Tokenizer:
    """The tokenizer in a folder or a file; the byte tokenizer if no path is given."""
    if path is None:
        return ByteTokenizer()
    with refusals(ImportError, OSError):
        cls = _FILES.get(os.path.basename(path))
        # An empty name would be the current folder.
        tokenizer = cls(path) if cls and os.path.isfile(path) else load_tokenizer(path) if path else None
    if tokenizer is None:
        raise CommandError(
            f"{command}: {option} must be a folder with one of {', '.join(cls.file_name for cls in TOKENIZERS)}. "
            f"Got {path!r}."
        )
    return tokenizer


def keep_programs(command: str) -> None:
    """On the command line, keep what JAX compiles for the next start, unless the user has set a cache of JAX's own."""
    if is_command_line():
        backends.active().keep_programs(partial(private_cache, command))


def _keras_file(name):
    """The `.keras` file of that name, or in the folder of a run; None for anything else."""
    path = Path(name)
    if name and (path / MODEL).is_file():
        return path / MODEL
    return path if path.suffix == ".keras" else None


def _load_keras_file(command, path, option, is_any=False):
    if not path.is_file():
        raise CommandError(f"{command}: {option} must be a file that exists. Got {str(path)!r}.")
    archive = _read_archive(path)
    if archive is None:
        raise CommandError(f"{command}: {option} must be a valid .keras file. Got {str(path)!r}, which is not.")
    content, weight_bytes = archive
    registered_name = content.get("registered_name") or content.get("class_name")
    kind = keras.saving.get_registered_object(registered_name) if isinstance(registered_name, str) else None
    is_ours = isinstance(kind, type) and issubclass(kind, LanguageModel)
    if not is_ours and not is_any:
        raise CommandError(
            f"{command}: {option} must hold a language model of keras_griffin. "
            f"Got {str(path)!r} with a {registered_name!r}."
        )
    try:
        if is_ours:
            _check_size(content, weight_bytes)
        with warnings.catch_warnings():
            # Generation does not need the optimizer's variables.
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model = keras.saving.load_model(path, compile=False)
    except ImportError as error:
        raise CommandError(first_line(str(error))) from error
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        # Keras wraps the sentence about a class that it does not know in others, and advises to trust the file.
        unknown = re.search(r"Could not locate \w+ '[^']*'", str(error))
        reason = unknown[0] if unknown else first_line(str(error)).partition(". ")[0].removesuffix(".")
        reason = reason or type(error).__name__
        raise CommandError(
            f"{command}: {option} must be a valid .keras file of this version. Got {str(path)!r}: {reason}."
        ) from error
    return model


def _check_size(content, weight_bytes):
    """Refuse a config that requires more memory than the weights do, before anything is built."""
    config = GriffinConfig(**content["config"]["config"])
    # Four bits a parameter are fewest.
    if config.num_layers > weight_bytes or config.parameter_count() > 2 * weight_bytes:
        raise ValueError(f"weights of {weight_bytes} bytes, too few for its config")


def _read_archive(path: Path) -> tuple[dict, int] | None:
    """The config in a `.keras` file, and the bytes of its weights, read without running a class that the file names."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if not {"config.json", "metadata.json", "model.weights.h5"} <= set(archive.namelist()):
                return None
            config = json.loads(archive.read("config.json"))
            weights = archive.getinfo("model.weights.h5")
    except (ValueError, RecursionError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    # DEFLATE compresses by a factor of at most 1032.
    return (config, min(weights.file_size, 1032 * weights.compress_size)) if isinstance(config, dict) else None
