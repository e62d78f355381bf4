"""A training step at a preset's width, compiled for a mesh of TPU chips: what it holds, moves and sends.

    KERAS_BACKEND=jax JAX_PLATFORMS=cpu python benchmarks/tpu_training_step.py [--topology v5e:2x4] [--mesh 2,4]

It needs the extra tpu-check but no TPU. The step is that of `fit`, with the optimizer, of a model of the preset's width
with fewer layers, under `layout_map` and mixed_bfloat16. Nothing runs: the numbers are the compiler's, and they do not
include the time that it takes to wait for memory or for other chips. The model is never in memory.
"""

import argparse
import os
import re
import time
from collections import Counter

#: What the compiler asks the machine for.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
COLLECTIVES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", default="v5e:2x4", help="the chips (default: %(default)s)")
    parser.add_argument("--mesh", default="2,4", help="parts of the batch and of the model (default: %(default)s)")
    parser.add_argument("--preset", default="griffin_1.3b", help="for the width (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2048)
    options = parser.parse_args()
    os.environ |= ENVIRONMENT

    mesh = mesh_of(options.topology, tuple(map(int, options.mesh.split(","))))
    start = time.perf_counter()
    compiled = lowered_step(mesh, options).compile()
    seconds = time.perf_counter() - start
    size = f"{options.layers} layers of {options.preset}, {options.rows} rows of {options.steps} tokens"
    print(f"\n### {size}, {options.topology} as a mesh ({options.mesh})\n")
    print(f"Traced and compiled in {seconds:.0f} s; the process took {time.process_time():.0f} s of a core.\n")
    print("| of one chip | |\n|---|---|")
    for name, value in facts(compiled).items():
        print(f"| {name} | {value} |")


def mesh_of(topology, shape):
    """A mesh of Keras's over chips that need not be there."""
    import jax
    import keras
    import numpy as np
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(topology, platform="tpu").devices

    class Chips(keras.distribution.DeviceMesh):
        backend_mesh = jax.sharding.Mesh(np.array(devices).reshape(shape), ("batch", "model"))

    return Chips(shape, ["batch", "model"], [f"tpu:{i}" for i in range(len(devices))])


def lowered_step(mesh, options):
    """The step of `fit`, traced for arrays that are nowhere."""
    import jax
    import keras

    from keras_griffin import backends
    from keras_griffin.distribution import layout_map
    from keras_griffin.models import Griffin, presets

    # Kernels are chosen for the default backend's devices.
    backends.active().device_kind = lambda: "tpu"
    config = presets()[options.preset].replace(num_layers=options.layers)
    made = []

    def make():
        model = Griffin(config, dtype="mixed_bfloat16")
        model.optimizer.build(model.trainable_variables)
        made.append(model)
        return 0

    # Variables of shapes and dtypes alone: with its optimizer's slots the model takes 9 GB.
    jax.eval_shape(make)
    (model,) = made
    layouts = layout_map(config, mesh)
    distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    paths = {variable.path.replace("/", "_"): variable.path for variable in model.trainable_variables}

    def array(variable):
        slot = re.fullmatch(r"[^/]*/(.*)_(?:momentum|velocity)", variable.path)
        axes = layouts[paths[slot[1]] if slot else variable.path].axes if variable.shape else ()
        layout = keras.distribution.TensorLayout(axes, mesh).backend_layout
        return jax.ShapeDtypeStruct(variable.shape, variable.dtype, sharding=layout)

    kinds = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
    state = tuple([array(variable) for variable in variables] for variables in kinds)
    layout = keras.distribution.TensorLayout(("batch", None), mesh).backend_layout
    tokens = jax.ShapeDtypeStruct((options.rows, options.steps), "int32", sharding=layout)

    def step(state, tokens, targets):
        return model.train_step(state, (tokens, targets))

    with distribution.scope():
        results = (None, jax.tree.map(lambda x: x.sharding, state))
        return jax.jit(step, donate_argnums=0, out_shardings=results).lower(state, tokens, tokens)


def facts(compiled):
    """What the compiler says of the program."""
    cost, memory, lines = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text().splitlines()
    kernels = Counter(re.search(r"%([a-z_]+)", line)[1] for line in lines if '"tpu_custom_call"' in line)
    loops = [re.search(r'op_name="([^"]*)"', line) for line in lines if " while(" in line]
    sent = Counter(match[1] for line in lines if (match := re.search(rf" ({COLLECTIVES})(?:-start)?\(", line)))
    return {
        "floating-point operations": f"{cost['flops']:.3e}",
        "bytes to and from memory": f"{cost['bytes accessed']:.3e}",
        "parameters, slots and batch, MiB": f"{memory.argument_size_in_bytes / 2**20:,.0f}",
        "temporary memory, MiB": f"{memory.temp_size_in_bytes / 2**20:,.0f}",
        "kernels": ", ".join(f"{count} {name}" for name, count in sorted(kernels.items())),
        "loops": "; ".join(sorted({loop[1] if loop else "unnamed" for loop in loops})) or "none",
        "messages": ", ".join(f"{count} {name}" for name, count in sorted(sent.items())),
    }


if __name__ == "__main__":
    main()
