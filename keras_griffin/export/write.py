"""`export`: a trained model as a file for another runtime."""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_griffin.checks import COUNT, checked
from keras_griffin.export.other_backend import export_on
from keras_griffin.export.program import Program, program_of
from keras_griffin.files.atomic import atomic_file, atomic_folder
from keras_griffin.layers import SequenceLayer
from keras_griffin.names import did_you_mean
from keras_griffin.ops.shared.arguments import dtype_of

WHATS = ("step", "chunk", "sequence")
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


#: The formats by name, and how each is written.
FORMATS = {
    "onnx": Format(".onnx", "torch", "torch_program", "write_onnx", ("onnx", "onnxscript")),
    "pt2": Format(".pt2", "torch", "torch_program", "write_pt2"),
    "saved_model": Format("", "tensorflow", "tensorflow_program", "write_saved_model"),
    "tflite": Format(".tflite", "tensorflow", "tensorflow_program", "write_tflite"),
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
    path = Path(path)
    _check_tokenizer(model, path.parent)
    if chosen.backend != keras.backend.backend():
        export_on(chosen.backend, model, path, {"what": what, "chunk": chunk, "format": format})
        return
    program = program_of(model, what, chunk)
    if what != "sequence":
        _check_stream(program, model, chunk or 1)
    facts = describe(program, chunk)
    write = getattr(importlib.import_module(f"keras_griffin.export.{chosen.module}"), chosen.function)
    with atomic_folder(path, SAVED_MODEL, function_name="export") if not chosen.suffix else atomic_file(path) as aside:
        try:
            write(program, aside, facts)
        except (ImportError, OSError):
            raise
        except Exception as error:
            raise ValueError(
                f"export: the model must be made of what {chosen.suffix or 'a SavedModel'} can hold. "
                f"Got {type(error).__name__}: {_first_line(error)}"
            ) from error
    with atomic_file(path.with_name(f"{path.name}.json")) as aside:
        aside.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.save(path.parent)


def describe(program: Program, chunk: int | None) -> dict:
    """The content of `PATH.json`."""
    tokenizer = getattr(program.model, "tokenizer", None)
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
        "tokenizer": getattr(tokenizer, "file_name", None),
    }


def _first_line(error):
    """The first line of an error that says something; Keras wraps it in calls and arguments."""
    lines = (line.strip("\x1b[1m \x1b[0m") for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith("Exception encountered")), "no reason")


def find_format(path: str | os.PathLike, name: str | None = None) -> Format:
    """The format of that name, or of the path's suffix; raises an ImportError if a package that it needs is missing."""
    if name is not None and name not in FORMATS:
        names = f"{', '.join(FORMATS)}"
        raise ValueError(f"export: format must be one of {names}. Got {name!r}{did_you_mean(str(name), FORMATS)}")
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
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(
            "export: model must be a built functional or Sequential Keras model, or a built temporal layer. "
            f"Got {type(model).__name__}."
        )
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    dtypes = sorted({dtype_of(weight) for weight in model.weights} | {layer.compute_dtype for layer in model.layers})
    others = [dtype for dtype in dtypes if "float" in dtype and dtype != "float32"]
    if others:
        raise ValueError(f"export: a model must compute in float32; load it with that dtype. Got {', '.join(others)}.")
    if getattr(model, "quantized_to", None) is not None or "int8" in dtypes:
        raise ValueError("export: a model must not be quantised. Got one that is.")
    return model


def _check_tokenizer(model, folder):
    """The tokenizer's files must not replace others."""
    tokenizer = getattr(model, "tokenizer", None)
    for name, content in tokenizer.contents().items() if hasattr(tokenizer, "contents") else ():
        if (folder / name).exists() and (folder / name).read_bytes() != content:
            raise ValueError(
                f"export: the folder must have no other tokenizer, since the model's is saved beside it. "
                f"Got {str(folder / name)!r}, which differs."
            )


def _check_stream(program, model, size):
    """Refuse a model whose steps do not give what its whole row gives."""
    steps = 3 * size
    generator = np.random.default_rng(0)
    rows = [_drawn(generator, tensor, steps) for tensor in model.inputs]
    state = program.arguments({"batch": 1, "past": 0})[len(program.inputs) :]
    own = len(model.inputs)
    found = []
    for step in range(0, steps, size):
        pieces = [_piece(x, tensor, step, size, program.what) for x, tensor in zip(rows, model.inputs, strict=True)]
        marks = [np.zeros(1, "bool")] * (len(program.inputs) - own)
        results = program.function(*map(keras.ops.convert_to_tensor, [*pieces, *marks, *state]))
        found.append([keras.ops.convert_to_numpy(x) for x in results[: len(program.outputs)]])
        state = results[len(program.outputs) :]
    whole = keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, rows)))
    for number, (outputs, tensor) in enumerate(zip(whole, model.outputs, strict=True)):
        wanted = keras.ops.convert_to_numpy(outputs)
        parts = [part[number] for part in found]
        if len(tensor.shape) > 1 and tensor.shape[1] is None:
            join = np.stack if program.what == "step" else np.concatenate
            got = join(parts, axis=1)
        else:
            got = parts[-1]
        if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"export: a {program.what} must give what the whole row gives, so no layer but the temporal ones of "
                f"keras_griffin may read other steps; what='sequence' exports such a model. "
                f"Got other numbers in {program.outputs[number]!r}."
            )


def _drawn(generator, tensor, steps):
    """A row of an input."""
    shape = [1, *(steps if size is None else size for size in tensor.shape[1:])]
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float" in dtype:
        return generator.normal(size=shape).astype(dtype)
    return np.zeros(shape, dtype) if dtype == "bool" else generator.integers(0, 2, shape).astype(dtype)


def _piece(row, tensor, step, size, what):
    """The part of a row that a step or a chunk takes."""
    if len(tensor.shape) < 2 or tensor.shape[1] is not None:
        return row
    return row[:, step] if what == "step" else row[:, step : step + size]
