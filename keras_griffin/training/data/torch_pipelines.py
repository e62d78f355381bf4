"""Batches as a `torch.utils.data.DataLoader`."""

import torch


class BatchDataset(torch.utils.data.IterableDataset):
    """Batches in their order, of which each worker of a `DataLoader` gives every so manieth.

    Args:
        batches: a `Batches`.
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        first, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return map(self.batches.__getitem__, range(first, len(self.batches), workers))


class FiniteBatchDataset(BatchDataset):
    """Batches that end, so that there is a number of them."""

    def __len__(self):
        return len(self.batches)


def to_torch_loader(batches, workers: int) -> torch.utils.data.DataLoader:
    """See `keras_griffin.training.to_torch_loader`.

    Args:
        batches: a `Batches`.
        workers: processes.
    """
    dataset = BatchDataset(batches) if batches.epochs is None else FiniteBatchDataset(batches)
    return torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
