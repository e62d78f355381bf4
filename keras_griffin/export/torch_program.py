"""ONNX and `.pt2`, by PyTorch's exporters."""

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path

import torch
from torch.export import Dim

from keras_griffin.export.program import Program

#: Its errors are RuntimeErrors.
FAILURES = ()
#: Free sizes, and those of the example from which a program is traced: 0 and 1 would be taken for constants.
EXAMPLE = {"batch": 2, "time": 8, "past": 3}


class _Module(torch.nn.Module):
    """A program as PyTorch's exporter wants it."""

    def __init__(self, program: Program):
        super().__init__()
        self.program = program
        self.model = program.model

    def forward(self, *tensors):
        return self.program.function(*tensors)


def exported(program: Program) -> torch.export.ExportedProgram:
    """The program in PyTorch's operations."""
    examples = tuple(map(torch.from_numpy, program.arguments(EXAMPLE)))
    free = {name: Dim(name) for name in EXAMPLE}
    shapes = [{axis: free[size] for axis, size in enumerate(port.shape) if size in free} for port in program.ports]
    module = _Module(program).eval()
    # The bodies of its scans that were compiled for a fixed length would be compared with a free one, which fixes it.
    torch.compiler.reset()
    with torch.no_grad():
        found = torch.export.export(module, examples, dynamic_shapes=(tuple(shapes),), strict=False)
    _drop_squeezes(found.graph)
    return found


def _drop_squeezes(graph: torch.fx.Graph) -> None:
    """Drop those of axes that are not of size 1, as in Keras's `take`: ONNX's exporter would write them."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.squeeze.dim):
        source = node.args[0]
        if node.meta["val"].ndim == source.meta["val"].ndim:
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def write_pt2(program: Program, path: Path, facts: dict) -> None:
    """A file for `torch.export.load`, with the facts as its `metadata.json`."""
    torch.export.save(exported(program), path, extra_files={"metadata.json": json.dumps(facts)})


def write_onnx(program: Program, path: Path, facts: dict) -> None:
    """A file for ONNX's runtimes, with the facts as metadata `keras_griffin`."""
    names = {"input_names": [port.name for port in program.ports], "output_names": list(program.results)}
    with _quiet():
        table = {torch.ops.aten.sort.stable: _sorted}
        options = {"dynamo": True, "verbose": False, "custom_translation_table": table}
        written = torch.onnx.export(exported(program), **names, **options)
        written.model.metadata_props["keras_griffin"] = json.dumps(facts)
        written.save(path)


def _sorted(x, stable: bool | None = None, dim: int = -1, descending: bool = False):
    """What `aten.sort.stable` is in ONNX, of which its exporter knows nothing: equal numbers keep their order too."""
    from onnxscript import opset20 as op

    axis = dim % len(x.shape)
    size = op.Shape(x, start=axis, end=axis + 1)
    return op.TopK(x, size, axis=axis, largest=int(descending), sorted=1)


@contextlib.contextmanager
def _quiet():
    """Without the exporter's progress."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
