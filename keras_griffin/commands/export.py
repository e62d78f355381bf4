"""Export a model with its state, for onnxruntime, browsers and others.

MODEL is what generate takes, or a .keras file of any functional model around layers of this
package. Nothing in such a file is run as code, but it may ask for any amount of memory: from a
stranger, take a preset. PATH.json, beside PATH, describes the inputs, the outputs and the state.

A step takes one token or sample of each row, a chunk N of them, and a sequence a whole row, without
a state.
"""

import argparse
import json
import math
import time
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import MODEL, positive_int

FORMATS = ("onnx", "pt2", "saved_model", "tflite", "stablehlo")
WHATS = ("step", "chunk", "sequence")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help=f"{MODEL}; or another .keras file")
    suffixes = ".onnx, .pt2, .tflite, .stablehlo, or none for the folder of a SavedModel"
    parser.add_argument("path", metavar="PATH", help=f"what to write, by its suffix: {suffixes}")
    parser.add_argument("--what", choices=WHATS, default="step", help="what a call computes (default: %(default)s)")
    parser.add_argument("--chunk", type=positive_int, metavar="N", help="the steps of a chunk")
    parser.add_argument("--format", choices=FORMATS, help="the format (default: the suffix says it)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in PATH")


def run(arguments: argparse.Namespace) -> int:
    """Load the model and export it, with lines of output for what is read and written."""
    from keras_griffin.commands.shared.load import load_any_model, refusals_of_the_tokenizer
    from keras_griffin.commands.shared.outputs import check_new_file, check_new_folder
    from keras_griffin.export import export
    from keras_griffin.export.write import find_format

    started = time.perf_counter()
    what, chunk, path = arguments.what, arguments.chunk, Path(arguments.path)
    if (chunk is None) == (what == "chunk"):
        raise CommandError(
            "export: --chunk must be given with --what chunk, and with nothing else. "
            f"Got {'none' if chunk is None else f'{chunk} with {what}'}."
        )
    with refusals(ImportError):
        form = find_format(arguments.path, arguments.format)
    check = check_new_file if form.suffix else check_new_folder
    check("export", arguments.path, arguments.overwrite, "PATH")
    beside = f"{path}.json"
    check_new_file("export", beside, arguments.overwrite, "PATH.json")
    print(f"Reading {arguments.model}", flush=True)
    # Otherwise the result would silently lack a tokenizer.
    with refusals_of_the_tokenizer("export: MODEL must come with a tokenizer that can be read."):
        model = load_any_model("export", arguments.model, "MODEL")
    kind = f"{what} of {chunk} steps" if chunk else what
    described = f"{type(model).__name__} with {model.count_params():,} parameters"
    print(f"Writing a {kind} of a {described} as {form.suffix or 'a SavedModel'}, by {form.backend}", flush=True)
    rule = "PATH must be in a writable folder, on a disk with enough space"
    with refusals(ImportError, RuntimeError), refusals_of_the_disk("export", rule, arguments.path):
        export(model, path, what=what, chunk=chunk, format=arguments.format)
    facts = json.loads(Path(beside).read_text("utf-8"))
    inputs, outputs = [*map(_input, facts["inputs"])], facts["outputs"]
    if facts["state"]:
        inputs.append(f"a state of {len(facts['state'])} tensors, {_size(facts['state']):,} bytes a row")
        outputs.append("the state")
    print(f"Inputs: {', '.join(inputs)}\nOutputs: {', '.join(outputs)}")
    size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
    names = [beside, *([str(path.parent / facts["tokenizer"])] if facts["tokenizer"] else [])]
    print(f"Done in {time.perf_counter() - started:.0f} s: {path} ({size:,} bytes), {', '.join(names)}")
    return 0


def _input(facts):
    return f"{facts['name']} ({', '.join(map(str, facts['shape']))}) {facts['dtype']}"


def _size(state):
    """The bytes of a row's state before its first step."""
    import numpy as np

    shapes = ([0 if size == "past" else size for size in each["shape"][1:]] for each in state)
    return sum(np.dtype(each["dtype"]).itemsize * math.prod(shape) for each, shape in zip(state, shapes, strict=True))
