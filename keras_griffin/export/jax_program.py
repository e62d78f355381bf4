"""StableHLO, by `jax.export`."""

from pathlib import Path

import jax
from jax import export

from keras_griffin.export.program import Program


def write_stablehlo(program: Program, path: Path, facts: dict) -> None:
    """Write a file for `jax.export.deserialize`."""
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(map(_size, port.shape)), scope=scope), port.dtype)
        for port in program.ports
    ]

    def function(*tensors):
        return dict(zip(program.results, program.function(*tensors), strict=True))

    exported = export.export(jax.jit(function))(*specs)
    path.write_bytes(exported.serialize())


def _size(size):
    """A size in JAX's notation, in which a word is at least 1; no keys are past at first."""
    return "past - 1" if size == "past" else str(size)
