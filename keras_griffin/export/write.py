"""`export`: a trained model as a file for another runtime."""

import contextlib
import importlib
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import keras

from keras_griffin.checks import COUNT, checked
from keras_griffin.export.check import check_stream
from keras_griffin.export.other_backend import export_on
from keras_griffin.export.program import Program, program_of
from keras_griffin.files.atomic import atomic_file, atomic_folder
from keras_griffin.layers import SequenceLayer
from keras_griffin.models import LanguageModel
from keras_griffin.names import did_you_mean
from keras_griffin.ops.shared.arguments import dtype_of
from keras_griffin.tokenizers.file_tokenizer import FileTokenizer

#: What exporters raise where they can't follow a program; a module has others of its backend's.
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
WHATS = ("step", "chunk", "sequence")
#: The bytes of weights in a file that holds at most 2 GiB, as protocol buffers and flat buffers do.
LARGEST = 1_900_000_000
#: What a SavedModel's folder may contain when it is replaced.
SAVED_MODEL = ("saved_model.pb", "fingerprint.pb", "variables", "assets")


class Format(NamedTuple):
    """How a format is written: `function(program, path, facts)` of a module of this package, on a backend."""

    suffix: str
    backend: str
    module: str
    function: str
    #: The packages that it needs beside the backend; the extra `export` installs them.
    packages: tuple[str, ...] = ()
    #: Of the weights; None for any.
    most_bytes: int | None = None


#: The formats by name, and how each is written.
FORMATS = {
    "onnx": Format(".onnx", "torch", "torch_program", "write_onnx", ("onnx", "onnxscript"), LARGEST),
    "pt2": Format(".pt2", "torch", "torch_program", "write_pt2"),
    "saved_model": Format("", "tensorflow", "tensorflow_program", "write_saved_model"),
    "tflite": Format(".tflite", "tensorflow", "tensorflow_program", "write_tflite", (), LARGEST),
    "stablehlo": Format(".stablehlo", "jax", "jax_program", "write_stablehlo"),
}


def export(
    model: keras.Model | SequenceLayer,
    path: str | os.PathLike,
    *,
    what: str = "step",
    chunk: int | None = None,
    format: str | None = None,
) -> None:
    """Write a model as a program that runs without Keras and without Python, with its state as inputs and outputs.

        (*outputs, *present) = step(*inputs, reset, *past)

    A step takes one token or sample of each row, a chunk a fixed number of them, and a sequence a whole row, which has
    no state. `past.{i}.{name}` is a tensor of the state of temporal layer or block i, and `present.{i}.{name}` the same
    after the step; `reset`, `(batch,)` bool, starts a row anew before it. The number of rows is free, and so is a
    sequence's length. States are exact: steps, chunks and rows give the same numbers.

    `PATH.json`, beside the file, has the names, shapes and dtypes of all inputs and outputs, what a state is at first,
    and the library's version; an ONNX file has the same as its metadata `keras_griffin`. A language model's tokenizer
    is saved in the same folder. Every file is written atomically.

    Args:
        model: a built functional or Sequential model, such as a language model or one around a `SequenceEncoder`, or a
            built temporal layer, in float32.
        path: a file, or the folder of a SavedModel.
        what: `"step"`, `"chunk"` or `"sequence"`.
        chunk: the steps of a chunk.
        format: `"onnx"` (onnxruntime, OpenVINO, browsers), `"pt2"` (`torch.export`), `"saved_model"` and `"tflite"`
            (TensorFlow, LiteRT), or `"stablehlo"` (`jax.export`); None for that of the path's suffix: `.onnx`, `.pt2`,
            `.tflite`, `.stablehlo`, or none for a SavedModel. Each is written by the backend that does it best; if that
            is not the active one, in a process of its own, to which the model travels as a `.keras` file.

    Raises:
        ImportError: the format's backend, or a package that it needs, is not installed.
        ValueError: an argument is wrong; the model is not of that kind, not in float32, or quantised; it is no stream,
            since a layer reads later steps or keeps none of the earlier ones; or the format can't hold it. Nothing is
            written then.
    """
    chosen = find_format(path, format)
    if what not in WHATS:
        raise ValueError(f"export: what must be one of {', '.join(WHATS)}. Got {what!r}{did_you_mean(what, WHATS)}")
    if (chunk is None) == (what == "chunk"):
        raise ValueError(f"export: chunk must be given for what='chunk', and for nothing else. Got {chunk!r}.")
    if chunk is not None:
        checked("export", COUNT, chunk=chunk)
    model = _whole(model)
    if chosen.most_bytes is not None and 4 * model.count_params() > chosen.most_bytes:
        raise ValueError(
            f"export: a {chosen.suffix} file holds at most {chosen.most_bytes} bytes of weights. "
            f"Got {4 * model.count_params()}; .pt2, .stablehlo and SavedModel hold more."
        )
    path = Path(path)
    _check_place(path, is_file=bool(chosen.suffix))
    _check_tokenizer(model, path.parent)
    if chosen.backend != keras.backend.backend():
        export_on(chosen.backend, model, path, {"what": what, "chunk": chunk, "format": format})
        return
    # A layer that counts its calls, or draws numbers, is left as it was.
    with keras.StatelessScope():
        program = program_of(model, what, chunk)
        if what != "sequence":
            check_stream(program, chunk or 1)
    facts = describe(program, chunk)
    module = importlib.import_module(f"keras_griffin.export.{chosen.module}")
    with atomic_folder(path, SAVED_MODEL, function_name="export") if not chosen.suffix else atomic_file(path) as aside:
        try:
            with _plain_errors():
                getattr(module, chosen.function)(program, aside, facts)
        except (*FAILURES, *module.FAILURES) as error:
            lines = re.sub(r"\x1b\[\d*m", "", str(error)).strip().splitlines() or ["no reason"]
            raise ValueError(
                f"export: the model must be made of what {chosen.suffix or 'a SavedModel'} can hold. "
                f"Got {type(error).__name__}: {lines[0]}"
            ) from error
    with atomic_file(path.with_name(f"{path.name}.json")) as aside:
        aside.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    tokenizer = _tokenizer_of(model)
    if tokenizer is not None:
        tokenizer.save(path.parent)


def describe(program: Program, chunk: int | None) -> dict:
    """The content of `PATH.json`."""
    tokenizer = _tokenizer_of(program.model)
    past = len(program.past)
    states = zip(program.past, program.results[-past:], strict=True) if past else ()
    return {
        # Not imported: the package imports this module.
        "keras_griffin": sys.modules["keras_griffin"].__version__,
        "keras": keras.__version__,
        "model": type(program.model).__name__,
        "what": program.what,
        "chunk": chunk,
        "inputs": [{"name": name, "shape": shape, "dtype": dtype} for name, shape, dtype, _ in program.inputs],
        "outputs": list(program.outputs),
        "state": [
            {"past": past.name, "present": present, "shape": past.shape, "dtype": past.dtype, "initial": past.initial}
            for past, present in states
        ],
        "tokenizer": None if tokenizer is None else tokenizer.file_name,
    }


@contextlib.contextmanager
def _plain_errors():
    """Errors as they were raised; Keras adds the call's arguments to them, and fails to with some of JAX's."""
    is_filtering = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if is_filtering:
            keras.config.enable_traceback_filtering()


def find_format(path: str | os.PathLike, name: str | None = None) -> Format:
    """The format of that name, or of the path's suffix; raises an ImportError if a package that it needs is missing."""
    if name is not None and name not in FORMATS:
        received = f"{name!r}{did_you_mean(str(name), FORMATS)}"
        raise ValueError(f"export: format must be one of {', '.join(FORMATS)}. Got {received}")
    suffix = Path(path).suffix
    chosen = FORMATS[name] if name else next((each for each in FORMATS.values() if each.suffix == suffix), None)
    if not os.fspath(path) or chosen is None:
        suffixes = ", ".join(each.suffix for each in FORMATS.values() if each.suffix)
        raise ValueError(
            f"export: path must end with {suffixes}, or have no suffix for a SavedModel, unless a format is given. "
            f"Got {os.fspath(path)!r}."
        )
    missing = [package for package in (chosen.backend, *chosen.packages) if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(
            f"export: this format needs {', '.join(missing)}, which pip install "
            f'"keras-griffin[{chosen.backend},export]" installs.'
        )
    return chosen


def _whole(model):
    """The model, or a model of a layer alone, if it can be exported."""
    if isinstance(model, SequenceLayer):
        model.require_built("export")
        inputs = keras.Input((None, model.input_spec.axes[-1]), name="inputs", dtype=model.compute_dtype)
        model = keras.Model(inputs, model(inputs))
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not (isinstance(model, keras.Model) and isinstance(model, keras.Function)):
        raise ValueError(
            "export: model must be a built functional or Sequential Keras model, or a built temporal layer. "
            f"Got {type(model).__name__}."
        )
    fixed = [tensor.shape[0] for tensor in model.inputs if tensor.shape[0] is not None]
    if fixed:
        raise ValueError(f"export: a model's number of rows must be free, so no layer may be stateful. Got {fixed[0]}.")
    dtypes = sorted({dtype_of(weight) for weight in model.weights} | {layer.compute_dtype for layer in model.layers})
    others = [dtype for dtype in dtypes if "float" in dtype and dtype != "float32"]
    if others:
        raise ValueError(f"export: a model must compute in float32; load it with that dtype. Got {', '.join(others)}.")
    if "int8" in dtypes:
        raise ValueError("export: a model must not be quantised. Got one that is.")
    return model


def _check_place(path, is_file):
    """Refuse before the work what could not be moved into place after it."""
    if not path.parent.is_dir():
        raise ValueError(f"export: path must be in a folder that exists. Got {str(path)!r}.")
    if is_file and path.is_dir():
        raise ValueError(f"export: path must be a file, or not exist yet. Got {str(path)!r}, a folder.")


def _tokenizer_of(model) -> FileTokenizer | None:
    """A language model's tokenizer, unless it is a class of the user's own, which has no files."""
    tokenizer = model.tokenizer if isinstance(model, LanguageModel) else None
    return tokenizer if isinstance(tokenizer, FileTokenizer) else None


def _check_tokenizer(model, folder):
    """The tokenizer's files must not replace others."""
    tokenizer = _tokenizer_of(model)
    for name, content in tokenizer.contents().items() if tokenizer is not None else ():
        if (folder / name).exists() and (folder / name).read_bytes() != content:
            raise ValueError(
                f"export: the folder must have no other tokenizer, since the model's is saved beside it. "
                f"Got {str(folder / name)!r}, which differs."
            )
