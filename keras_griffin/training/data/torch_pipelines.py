"""Batches as a `torch.utils.data.DataLoader`."""

import torch


class BatchDataset(torch.utils.data.IterableDataset):
    """Batches in order; each of n workers of a `DataLoader` yields every nth.

    Args:
        batches: a `Batches` or `StreamedBatches`.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        first, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self.batches.every(workers, first)


class FiniteBatchDataset(BatchDataset):
    """A finite number of batches, so that there is a length."""

    def __len__(self):
        return self.batches.count


def to_torch_loader(batches, workers: int, multiprocessing_context) -> torch.utils.data.DataLoader:
    """See `keras_griffin.training.to_torch_loader`.

    Args:
        batches: a `Batches` or `StreamedBatches`.
        workers: the number of processes.
        multiprocessing_context: how they are started; None for PyTorch's default.
    """
    dataset = BatchDataset(batches) if batches.count is None else FiniteBatchDataset(batches)
    return torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, multiprocessing_context=multiprocessing_context
    )
