"""What processes of one process group tell one another."""

import numpy as np
import torch


def place() -> tuple[int, int]:
    """This process's index, and how many there are."""
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
    # NCCL moves what lies on GPUs, and every other backend, also beside it, what lies on the CPU.
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    return torch.from_numpy(np.array(array)).to(device)
