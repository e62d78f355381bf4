"""Communication between the processes of a PyTorch process group."""

import numpy as np
import torch


def place() -> tuple[int, int]:
    """This process's index, and the number of processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def gathered(array: np.ndarray) -> np.ndarray:
    """The array of every process, `(P, ...)`."""
    own = _tensor(array)
    everyone = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(everyone, own)
    return torch.stack(everyone).cpu().numpy()


def sent(array: np.ndarray, source: int) -> np.ndarray:
    """The array of one process."""
    tensor = _tensor(array)
    torch.distributed.broadcast(tensor, source)
    return tensor.cpu().numpy()


def _tensor(array):
    # NCCL moves tensors on GPUs; every other backend, also one combined with NCCL, moves tensors on the CPU.
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    return torch.from_numpy(np.array(array)).to(device)
