"""Shared memory that the kernels of PyTorch's FlexAttention need, by the GPU that PyTorch writes them for.

    KERAS_BACKEND=torch python -m benchmarks.flex_shared_memory

It needs Triton but no GPU: `tests/ops/flex_compilation.py` lets PyTorch write the kernels of a GPU that isn't there,
and Triton, which compiles them, counts. A kernel that needs more than a program of the GPU gets can't be launched.
"""

import warnings

import torch

from keras_griffin.ops.local_attention import torch_flex
from tests.ops.flex_compilation import shared_memory

#: NVIDIA's numbers of GPUs, with the bytes that a program gets there: T4; RTX 30 and 40; RTX 50; A100.
GPUS = {(7, 5): 65_536, (8, 6): 101_376, (12, 0): 101_376, (8, 0): 166_912}
KERNELS = {"forward": "flex_attention", "backward": "flex_attention_backward"}
STEPS, WINDOW = 256, 100


def measure(channels, dtype, kernel, gpu, options):
    """The bytes, as text."""
    query, key, value = (torch.zeros(1, n, STEPS, channels, dtype=dtype, requires_grad=True) for n in (4, 1, 1))
    bounds = [torch.tensor(x, dtype=torch.int32) for x in (WINDOW, 0)]
    return f"{shared_memory(torch_flex.attend, (query, key, value, *bounds, None, options), gpu, kernel):,}"


def main():
    """Print the table."""
    print(f"| channels, dtype, kernel | {' | '.join(f'sm_{10 * a + b}' for a, b in GPUS)} | ours, sm_86 |")
    print(f"|---|{'---|' * (len(GPUS) + 1)}")
    for channels in (64, 128, 256):
        for dtype in (torch.bfloat16, torch.float32):
            ours = torch_flex.options_of(dtype, channels, GPUS[8, 6])
            for name, kernel in KERNELS.items():
                cells = [measure(channels, dtype, kernel, gpu, None) for gpu in GPUS]
                cells.append("PyTorch's" if ours is None else measure(channels, dtype, kernel, (8, 6), ours))
                print(f"| {channels}, {str(dtype)[6:]}, {name} | {' | '.join(cells)} |", flush=True)
    print(f"| a program gets | {' | '.join(f'{size:,}' for size in GPUS.values())} | {GPUS[8, 6]:,} |")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
