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
    """Whether this process can interpret it, or call it as if in an exported program.

    Triton's interpreter, chosen on import, has a process of its own.
    """
    if row.exported:
        return row.backend == BACKEND
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
    """Let the choice of a kernel see the device, or the exported program, that the row is for."""
    backend = importlib.import_module(f"keras_griffin.backends.{BACKEND}_backend")
    if row.exported:
        patch.setattr(backend, "is_exported", lambda: True)
        return
    patch.setattr(backend, "device_kind", lambda: row.automatic[0])
    if row.name == "torch_flex":
        patch.setattr(_kernel(row), "_DEVICES", ("cpu",))


def interpret(patch, op: Op, row: Implementation):
    """Let an interpreter run the row: Pallas's, in memory that is NaN until it is written; PyTorch's without Triton."""
    pretend(patch, op, row)
    if row.exported:
        from keras_griffin.ops.recurrence import torch_exported

        # PyTorch would compile the node for each call.
        patch.setattr(torch_exported, "scan_node", _scan_node)
    elif row.name == "torch_flex":
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


def _scan_node(body, start, sequences, dim):
    """PyTorch's `scan` as its documentation has it: a loop over the first axis."""
    import torch

    assert dim == 0
    state, found = start, []
    for numbers in zip(*sequences, strict=True):
        state, results = body(state, list(numbers))
        found.append(results)
    return state, [torch.stack(parts) for parts in zip(*found, strict=True)]
