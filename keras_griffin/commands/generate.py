"""Continue a text with a model that `train` saved."""

import argparse
import json
import sys
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_griffin.commands.arguments import non_negative_float, positive_int, seed, share
from keras_griffin.commands.errors import CommandError, refusals
from keras_griffin.commands.kernels import chosen_kernels
from keras_griffin.generation import Greedy, TopP
from keras_griffin.models import LanguageModel

#: The ids of a byte-level model: the bytes themselves.
VOCABULARY_SIZE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--model", required=True, metavar="FILE", help="the .keras file, such as runs/NAME/model.keras")
    parser.add_argument("--prompt", default="def ", metavar="TEXT", help="what to continue (default: %(default)r)")
    parser.add_argument(
        "--bytes", type=positive_int, default=500, metavar="N", help="how much to write (default: %(default)s)"
    )
    add_sampling_arguments(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another seed, another text (default: 0)")


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """How the next byte is drawn; `train` asks too."""
    parser.add_argument(
        "--temperature",
        type=non_negative_float,
        default=0.7,
        metavar="X",
        help="below 1 it keeps to what is likely, 0 takes the likeliest byte always (default: %(default)s)",
    )
    parser.add_argument(
        "--top-p",
        type=share,
        default=0.95,
        metavar="P",
        help="draw among the likeliest bytes that together have this probability (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Load the model and print the prompt with its continuation."""
    model = load_byte_model(Path(arguments.model))
    with refusals():
        chosen_kernels(model.config, 1, max(len(arguments.prompt), 2))
    print(continue_text(model, arguments.prompt, arguments.bytes, arguments))
    return 0


def continue_text(model: LanguageModel, prompt: str, num_bytes: int, arguments: argparse.Namespace) -> str:
    """The prompt and what a byte-level model writes after it; bytes that are not UTF-8 become U+FFFD.

    In a terminal so do control characters.

    Args:
        model: over the 256 bytes.
        prompt: where it is empty, the model starts after a line break.
        num_bytes: how many it writes.
        arguments: with `temperature`, `top_p` and `seed`.
    """
    # Bytes of the command line that are not UTF-8 come as surrogates.
    prompt_bytes = prompt.encode("utf-8", "surrogateescape") or b"\n"
    sampler = TopP(arguments.top_p, arguments.temperature) if arguments.temperature > 0 else Greedy()
    token_ids = np.frombuffer(prompt_bytes, "uint8").astype("int32")[None]
    written = model.generate(token_ids, num_bytes, sampler=sampler, seed=arguments.seed)
    text = bytes(np.asarray(written[0], "uint8")).decode("utf-8", "replace")
    return printable(text) if sys.stdout.isatty() else text


def printable(text: str) -> str:
    """The text with U+FFFD for what would move a terminal's cursor or change its colours."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def load_byte_model(path: Path) -> LanguageModel:
    """The model in a `.keras` file, if it is one of this package's and reads bytes.

    Raises:
        CommandError: there is no such file, or something else is in it.
    """
    if not path.is_file():
        raise CommandError(f"generate: --model must be a file that exists. Got {str(path)!r}.")
    registered_name = _registered_name(path)
    if registered_name is None:
        raise CommandError(f"generate: --model must be a whole .keras file. Got {str(path)!r}, which is not.")
    if not registered_name.startswith("keras_griffin>"):
        raise CommandError(
            "generate: --model must hold a language model of keras_griffin. "
            f"Got {str(path)!r} with a {registered_name!r}."
        )
    try:
        with warnings.catch_warnings():
            # The optimizer's variables, which writing does not need.
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model = keras.saving.load_model(path, compile=False)
    except (KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CommandError(
            f"generate: --model must be a whole .keras file of this version. Got {str(path)!r}: {reason}"
        ) from error
    if model.config.vocabulary_size != VOCABULARY_SIZE:
        raise CommandError(
            f"generate: --model must hold a language model over the {VOCABULARY_SIZE} bytes. "
            f"Got {str(path)!r} over {model.config.vocabulary_size} ids."
        )
    return model


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
