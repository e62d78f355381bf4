"""Which rows of an op's table the tests can run here, and what an interpreter needs for them."""

import functools
import importlib
import os

import keras
import pytest

from keras_griffin.ops.implementation import Implementation, Op, current_facts, find_op

# How a row is judged; the tests that pick a row here judge it with these.
from keras_griffin.testing.op_checks import check_gradients, check_values, weights_of  # noqa: F401

BACKEND = keras.backend.backend()


def runnable(op_name: str, shape: tuple[int, ...] | None = None, dtype: str = "float32") -> list[str]:
    """The rows that serve such a call on this machine, and those that an interpreter runs in this process."""
    op = find_op(op_name)
    return [row.name for row in op.implementations if serves(op, row, shape, dtype)]


def serves(op: Op, row: Implementation, shape, dtype) -> bool:
    """Whether a row serves such a call: on this machine, or interpreted as if on its device."""
    if op.rejection(row, current_facts(shape, dtype)) is None:
        return True
    if not is_interpreted(row):
        return False
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch, op, row)
        return op.rejection(row, current_facts(shape, dtype)) is None


def is_interpreted(row: Implementation) -> bool:
    """Whether this process can interpret it. Triton's interpreter, chosen on import, has a process of its own."""
    kernels_of_triton = os.environ.get("TRITON_INTERPRET") == "1"
    return row.interpreted and row.backend == BACKEND and row.name.endswith("_triton") == kernels_of_triton


def interpreted_rows() -> dict[str, list[tuple[Op, Implementation]]]:
    """What this process can interpret, by the rows' names: op and row of each."""
    rows = {}
    for op in Op.registry.values():
        for row in filter(is_interpreted, op.implementations):
            rows.setdefault(row.name, []).append((op, row))
    return rows


def _kernel(row: Implementation):
    """The module of a kernel that several ops share."""
    return find_op("local_attention").module(row)


def pretend(patch, op: Op, row: Implementation):
    """Let the choice of a kernel see the device that the row is for."""
    backend = importlib.import_module(f"keras_griffin.backends.{BACKEND}_backend")
    patch.setattr(backend, "device_kind", lambda: row.automatic[0])
    if row.name == "torch_flex":
        patch.setattr(_kernel(row), "_DEVICES", ("cpu",))


def interpret(patch, op: Op, row: Implementation):
    """Let an interpreter run the row: Pallas's, in memory that is NaN until it is written; PyTorch's without Triton."""
    pretend(patch, op, row)
    if row.name == "torch_flex":
        import torch.nn.attention.flex_attention as flex

        module = _kernel(row)
        patch.setattr(module, "compiled_attend", lambda: module.attend)
        # On a CPU it warns that it is not compiled, and rejects gradients that it can compute.
        patch.setattr(flex, "_warn_once", lambda *arguments, **options: None)
        patch.setattr(flex, "_validate_device", lambda *tensors: None)
    elif row.name == "jax_splash_tpu":
        splash = _kernel(row).splash
        made = functools.partial(splash.make_splash_mha_single_device, interpret=True)
        patch.setattr(splash, "make_splash_mha_single_device", made)
    elif BACKEND == "jax":
        from jax.experimental import pallas

        from keras_griffin.ops.recurrence.kernels import jax_pallas_tpu_blocks

        patch.setattr(pallas, "pallas_call", functools.partial(pallas.pallas_call, interpret=True))
        # Compiling what stands for the kernel takes longer than running it.
        patch.setattr(jax_pallas_tpu_blocks, "UNROLL", 1)
