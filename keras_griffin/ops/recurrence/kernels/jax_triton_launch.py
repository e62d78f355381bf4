"""On JAX with an NVIDIA GPU: how kernels in Triton are launched, by jax-triton; see `triton_passes.py`."""

import functools
import importlib.util
import linecache

import jax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.kernels.triton_passes import OPTIONS
from keras_griffin.ops.shared.jax_division import inside_shard_map


def supports(facts) -> str | None:
    """All but float64, on NVIDIA's GPUs."""
    if facts.device != "gpu":
        return "needs a GPU"
    if "rocm" in platform_version():
        return "needs an NVIDIA GPU"
    if importlib.util.find_spec("jax_triton") is None:
        return "needs jax-triton, which is not installed: pip install 'keras-griffin[jax-gpu]'"
    return "computes in float32" if facts.dtype == "float64" else None


def platform_version() -> str:
    """What JAX runs on, such as "cuda 13000"."""
    return jax.devices()[0].client.platform_version


def chip(array: jax.Array) -> tuple[int, int]:
    """The number of a GPU's multiprocessors, and of a warp's threads."""
    return jax.local_devices(backend="gpu")[0].core_count, 32


def empty(array: jax.Array, shape=None) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array that a kernel returns."""
    return jax.ShapeDtypeStruct(array.shape if shape is None else shape, array.dtype)


def launch(kernel, arguments: tuple, results: tuple, programs: int, **constants) -> tuple:
    """The results of a kernel; mapped by `jax.vmap`, it runs once for each element."""
    import jax_triton

    given, (wanted, structure) = jax.tree.leaves(arguments), jax.tree.flatten(results)
    options = {"out_type": wanted, "backend_options": OPTIONS}
    if jax_triton.__version_info__ < (0, 4):
        options = {"out_shape": wanted, **OPTIONS}
    entry = _flat(kernel, jax.tree.structure((*arguments, *results)))

    @jax.custom_batching.sequential_vmap
    def call(*arrays):
        rest = iter(arrays)
        operands = [x if isinstance(x, int) else next(rest) for x in given]
        return jax_triton.triton_call(*operands, kernel=entry, grid=(programs,), **options, **constants)

    arrays = [x for x in given if not isinstance(x, int)]
    return jax.tree.unflatten(structure, _varying_with(arrays, call(*arrays)))


def _varying_with(arrays, results):
    """The results, which inside `shard_map` vary over the devices of all arrays; jax-triton doesn't say so."""
    if not inside_shard_map():
        return results
    # XLA knows that a sum of no numbers is zero, and doesn't add it.
    nothing = sum(jnp.sum(x.ravel()[:0].astype(jnp.float32)) for x in arrays)
    return [x + nothing.astype(x.dtype) for x in results]


@functools.cache
def _flat(kernel, structure):
    """The kernel with a parameter for each array and size: jax-triton 0.3 passes neither tuples nor None.

    Triton reads a function's source, so the function is made from one.
    """
    import triton
    from triton import language

    names = [f"x{i}" for i in range(structure.num_leaves)]
    nested = jax.tree.unflatten(structure, names)
    constants = kernel.arg_names[len(nested) :]
    parameters = [*names, *(f"{name}: tl.constexpr" for name in constants)]
    passed = [*(str(value).replace("'", "") for value in nested), *constants]
    name, file = kernel.fn.__name__, f"<{kernel.fn.__name__} of {structure}>"
    source = f"def {name}({', '.join(parameters)}):\n    kernel({', '.join(passed)})\n"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    space = {"kernel": kernel, "tl": language, "__name__": __name__}
    exec(compile(source, file, "exec"), space)
    return triton.jit(space[name])
