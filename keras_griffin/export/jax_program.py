"""StableHLO, by `jax.export`."""

import warnings
from pathlib import Path

import jax
import keras
from jax import export

from keras_griffin.export.program import Program

FAILURES = (jax.errors.InconclusiveDimensionOperation,)
#: Where the program runs; kernels of a device's own are left out.
PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(program: Program, path: Path, facts: dict) -> None:
    """Write a file for `jax.export.deserialize`, whose `call` takes the inputs in order and returns a dict.

    The weights are constants of the program, and so is what a layer assigns in a call; a warning says so.
    """
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(export.symbolic_shape(", ".join(map(_size, port.shape)), scope=scope), port.dtype)
        for port in program.ports
    ]

    assigned: set[str] = set()

    def step(*tensors):
        # What a layer assigns would stay in the model, as a tracer.
        with keras.StatelessScope() as scope:
            results = dict(zip(program.results, program.function(*tensors), strict=True))
        assigned.update(each.path for each in program.model.variables if id(each) in scope.state_mapping)
        return results

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        path.write_bytes(export.export(jax.jit(step), platforms=PLATFORMS)(*specs).serialize())
    if assigned:
        warnings.warn(
            "export: a .stablehlo program keeps no variable from call to call, so a layer that draws numbers draws the "
            f"same ones each time. Got a model that assigns {', '.join(sorted(assigned))}.",
            stacklevel=3,
        )


def _size(size):
    """A size in JAX's notation, in which a word is at least 1; no keys are past at first."""
    return "past - 1" if size == "past" else str(size)
