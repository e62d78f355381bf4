"""The TPU compiler's schedule of the kernels: instructions in the loop, compared with the cycles for memory traffic.

    KERAS_BACKEND=jax JAX_PLATFORMS=cpu python benchmarks/tpu_schedule.py [v5e:2x2]

It needs the extra tpu-check but no TPU. A bundle is the set of instructions that the chip issues in a cycle; those of
the loop over groups of 16 steps by 512 channels are counted in the compiler's dump. They do not include waiting for
memory. The memory cycles follow from the bytes of such a group and the published bandwidth and clock of a v5e.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

BANDWIDTH, CLOCK = 819e9, 940e6
GROUP_ELEMENTS = 16 * 512
#: The kernels, and the number of arrays that each moves.
ARRAYS = {"linear_scan": 3, "linear_scan_gradient": 5, "rg_lru": 4, "rg_lru_gradient": 8}
SHAPE = (1, 4096, 2560)


def compile_all(topology, dtype):
    """Compile forward and gradient of both ops, without a TPU."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from keras_griffin.ops.linear_scan import jax_pallas_tpu as scans
    from keras_griffin.ops.linear_scan.marks import Marks
    from keras_griffin.ops.rg_lru import jax_pallas_tpu as units
    from keras_griffin.ops.rg_lru.unit import Unit

    chip = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
    sharding, marks = SingleDeviceSharding(chip), Marks(None, None)
    sequence = jax.ShapeDtypeStruct(SHAPE, dtype, sharding=sharding)
    channels = jax.ShapeDtypeStruct(SHAPE[2:], "float32", sharding=sharding)
    state = jax.ShapeDtypeStruct((SHAPE[0], SHAPE[2]), "float32", sharding=sharding)

    def with_gradient(function):
        def both(arguments, weights):
            results, pull_back = jax.vjp(function, *arguments)
            return results, pull_back(weights)

        return jax.jit(both)

    weights = ((sequence,), (state,))
    scan = with_gradient(lambda decay, inputs, start: scans.linear_scan(decay, inputs, start, marks, False))
    scan.lower(((sequence,), (sequence,), (state,)), weights).compile()
    unit = with_gradient(lambda unit, start: units.rg_lru(unit, start, marks, 8.0, False))
    unit.lower((Unit((sequence,), sequence, sequence, channels, None), (state,)), weights).compile()


def bundles(folder, kernel):
    """The bundles in the longest of the kernel's innermost loops, which is the loop over groups."""
    (path,) = [p for p in folder.glob(f"*-{kernel}.1-*-final_bundles.txt") if "schedule" not in p.name]
    loops = []
    for line in path.read_text().splitlines():
        match = re.match(r"\s*0x[0-9a-f]+\s+(\S*)\s*:\s+(>*)", line)
        if match and ">>" in match[2]:
            if "LB" in match[1]:
                loops.append(0)
            loops[-1] += 1
    return max(loops)


def main():
    """Print the table."""
    topology = sys.argv[1] if len(sys.argv) > 1 else "v5e:2x2"
    print(f"\n### Schedule for {topology}\n")
    print("| kernel | dtype | bundles | cycles of a v5e's memory |\n|---|---|---|---|")
    for dtype, itemsize in (("float32", 4), ("bfloat16", 2)):
        with tempfile.TemporaryDirectory() as folder:
            child = os.fork()
            if child == 0:
                # The compiler reads them once, when it is loaded.
                os.environ["LIBTPU_INIT_ARGS"] = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
                os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
                os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
                compile_all(topology, dtype)
                os._exit(0)
            if os.waitpid(child, 0)[1]:
                raise SystemExit(f"tpu_schedule: the compiler failed for {topology} and {dtype}.")
            for kernel, arrays in ARRAYS.items():
                cycles = arrays * itemsize * GROUP_ELEMENTS / BANDWIDTH * CLOCK
                print(f"| {kernel} | {dtype} | {bundles(Path(folder), kernel)} | {cycles:.0f} |", flush=True)


if __name__ == "__main__":
    main()
