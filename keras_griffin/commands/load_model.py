"""The model that `--model` names, wherever it lies."""

import contextlib
import json
import warnings
import zipfile
from pathlib import Path

import keras

from keras_griffin.commands.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.hub import SCHEME
from keras_griffin.tokenizers import ByteTokenizer


def load_text_model(
    command: str, name: str, dtype: str | None = None, *, adapter: str | None = None, option: str = "--model"
) -> LanguageModel:
    """The model, if it takes and gives text; one over 256 ids that has no tokenizer is taken to read bytes.

    Args:
        command: in whose name errors speak.
        name: what `--model` says.
        dtype: what `--dtype` says.
        adapter: what `--adapter` says.
        option: what `--model` is called.

    Raises:
        CommandError: there is no such model, it comes without a tokenizer, or the adapter is not for it.
    """
    with refusals_of_the_tokenizer(f"{command}: {option} must come with its tokenizer. Got {name!r}:"):
        model = load_model(command, name, dtype, option)
    if model.tokenizer is None and model.config.vocabulary_size == ByteTokenizer.vocabulary_size:
        model.tokenizer = ByteTokenizer()
    if model.tokenizer is None:
        raise CommandError(
            f"{command}: {option} must come with a tokenizer, or be over the {ByteTokenizer.vocabulary_size} bytes. "
            f"Got {name!r} over {model.config.vocabulary_size} ids, without."
        )
    if adapter is not None:
        with refusals(), refusals_of_the_disk(command, "--adapter must be a file that can be read", adapter):
            model.load_adapter(adapter)
    return model


def load_model(command: str, name: str, dtype: str | None = None, option: str = "--model") -> LanguageModel:
    """The model in a `.keras` file, in a folder or a checkpoint that `from_preset` reads, or on the Hugging Face Hub.

    Args:
        command: in whose name errors speak.
        name: what `--model` says.
        dtype: what `--dtype` says; a `.keras` file has its own.
        option: what `--model` is called.

    Raises:
        CommandError: there is no such model, or it can't be loaded.
    """
    path = Path(name)
    if path.suffix == ".keras":
        if dtype is not None:
            raise CommandError(
                f"{command}: --dtype must not be given for a .keras file, which has its own. Got {dtype!r}."
            )
        return _load_keras_file(command, path, option)
    if (path / "model.keras").is_file():
        raise CommandError(
            f"{command}: {option} must name the model in the folder of a run. Got {name!r}, where it is "
            f"{str(path / 'model.keras')!r}."
        )
    return load_preset(f"{command}: {option} must be a .keras file, a folder", name, dtype)


def load_preset(rule: str, name: str, dtype: str | None = None) -> LanguageModel:
    """The model in a folder or a checkpoint that `from_preset` reads, or on the Hugging Face Hub.

    Args:
        rule: what the name must be; that it may be of the Hub is added.
        name: of a path or an address, and of no size of the paper, whose weights would be random.
        dtype: None for the preset's own.

    Raises:
        CommandError: there is no such model, or it can't be loaded.
    """
    is_on_hub = name.startswith(SCHEME)
    # An empty name would be the folder at hand.
    if not name or not (is_on_hub or Path(name).exists()):
        raise CommandError(f"{rule} or {SCHEME}OWNER/NAME. Got {name!r}.")
    try:
        return Griffin.from_preset(name if is_on_hub else Path(name).absolute(), dtype=dtype)
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(_first_line(error)) from error


@contextlib.contextmanager
def refusals_of_the_tokenizer(rule: str):
    """Inside the `with` block, a model is refused where its tokenizer can't be loaded; the rule comes first."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The model is loaded without its tokenizer")
        try:
            yield
        except UserWarning as warning:
            raise CommandError(f"{rule} {warning}") from warning


def _load_keras_file(command, path, option):
    if not path.is_file():
        raise CommandError(f"{command}: {option} must be a file that exists. Got {str(path)!r}.")
    registered_name = _registered_name(path)
    if registered_name is None:
        raise CommandError(f"{command}: {option} must be a whole .keras file. Got {str(path)!r}, which is not.")
    if not registered_name.startswith("keras_griffin>"):
        raise CommandError(
            f"{command}: {option} must hold a language model of keras_griffin. "
            f"Got {str(path)!r} with a {registered_name!r}."
        )
    try:
        with warnings.catch_warnings():
            # The optimizer's variables, which writing does not need.
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model = keras.saving.load_model(path, compile=False)
    except ImportError as error:
        raise CommandError(_first_line(error)) from error
    except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise CommandError(
            f"{command}: {option} must be a whole .keras file of this version. Got {str(path)!r}: {_first_line(error)}"
        ) from error
    if not isinstance(model, LanguageModel):
        raise CommandError(
            f"{command}: {option} must hold a language model of keras_griffin. "
            f"Got {str(path)!r} with a {registered_name!r}."
        )
    return model


def _first_line(error) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _registered_name(path: Path) -> str | None:
    """The name under which the class of a `.keras` file's model is registered; None where it is no such file.

    Looked at before the file is loaded, because loading runs whatever class it names.
    """
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if not {"config.json", "metadata.json", "model.weights.h5"} <= set(archive.namelist()):
            return None
        try:
            config = json.loads(archive.read("config.json"))
        except (ValueError, zipfile.BadZipFile):
            return None
    if not isinstance(config, dict):
        return None
    return config.get("registered_name") or config.get("class_name")
