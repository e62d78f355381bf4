"""What `test_many_processes.py` runs on PyTorch, once in each process: a loop, and a `fit`, of a model they share.

`python -m tests.distribution.data_parallel_processes FILE PROCESSES INDEX`, FILE being where they meet.
"""

import json
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from keras_griffin.distribution import LocalRows
from tests.distribution.tiny import EPOCHS, ROWS, Batches, model, windows


def with_a_loop(processes, index):
    trained = model()
    shared = DistributedDataParallel(trained)
    optimizer = torch.optim.AdamW(shared.parameters(), lr=1e-3)
    inputs, targets = (torch.tensor(x).long() for x in windows())
    size, losses = 8 // processes, []
    for start in [*range(0, ROWS, 8)] * EPOCHS:
        own = slice(start + index * size, start + (index + 1) * size)
        loss = torch.nn.functional.cross_entropy(shared(inputs[own]).flatten(0, 1), targets[own].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(mean_of(loss.item(), processes))
    return losses


def with_fit(processes, index):
    trained = model()

    def averaged(gradient):
        torch.distributed.all_reduce(gradient)
        return gradient / processes

    for variable in trained.trainable_variables:
        variable.value.register_hook(averaged)
    data = LocalRows(Batches(), index, processes)
    losses = trained.fit(data, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
    return [mean_of(loss, processes) for loss in losses]


def mean_of(number, processes):
    """The mean of the processes' numbers."""
    total = torch.tensor(number)
    torch.distributed.all_reduce(total)
    return total.item() / processes


def main(file, processes, index):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{file}", rank=index, world_size=processes)
    print("ANSWERS" + json.dumps({"loop": with_a_loop(processes, index), "fit": with_fit(processes, index)}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
