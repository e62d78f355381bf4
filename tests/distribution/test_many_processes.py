"""One model in several processes has the losses that it has in one."""

import socket

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows, layout_map
from keras_griffin.models import Griffin
from tests.distribution.processes import answers_of
from tests.distribution.tiny import CONFIG, EPOCHS, ROWS, Batches, model, windows

BACKEND = keras.backend.backend()


def fit_on_jax(kind, address, processes, index):
    keras.utils.set_random_seed(0)
    data = Batches()
    if processes > 1:
        keras.distribution.initialize(address, processes, index)
        if kind == "data":
            distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        else:
            layouts = layout_map(CONFIG, keras.distribution.DeviceMesh((1, 2), ["batch", "model"]))
            distribution = keras.distribution.ModelParallel(layout_map=layouts, auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
        data = LocalRows(data)
    losses = Griffin(CONFIG).fit(data, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
    return losses, len(data[0][0])


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is JAX's alone")
@pytest.mark.slow
def test_two_processes_of_jax_train_one_model():
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{end.getsockname()[1]}" for end in (free, other)]
    kinds = zip(("data", "model"), addresses, strict=True)
    runs = [("one", "-", 1, 0), *((kind, address, 2, index) for kind, address in kinds for index in (0, 1))]
    (expected, _), *many = answers_of(fit_on_jax, *runs)
    assert [rows for _, rows in many] == [4, 4, 8, 8]
    for losses, _ in many:
        np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)
    assert expected[1] < expected[0]


def loop_and_fit_on_pytorch(file, processes, index):
    import torch

    torch.distributed.init_process_group("gloo", f"file://{file}", rank=index, world_size=processes)

    def mean_of(number):
        total = torch.tensor(number)
        torch.distributed.all_reduce(total)
        return total.item() / processes

    def averaged(gradient):
        torch.distributed.all_reduce(gradient)
        return gradient / processes

    shared = torch.nn.parallel.DistributedDataParallel(model())
    optimizer = torch.optim.AdamW(shared.parameters(), lr=1e-3)
    inputs, targets = (torch.tensor(x).long() for x in windows())
    size, losses = 8 // processes, []
    for start in [*range(0, ROWS, 8)] * EPOCHS:
        own = slice(start + index * size, start + (index + 1) * size)
        loss = torch.nn.functional.cross_entropy(shared(inputs[own]).flatten(0, 1), targets[own].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(mean_of(loss.item()))

    trained = model()
    for variable in trained.trainable_variables:
        variable.value.register_hook(averaged)
    data = LocalRows(Batches(), index, processes)
    history = trained.fit(data, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
    return losses, [mean_of(loss) for loss in history]


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's processes")
@pytest.mark.slow
def test_two_processes_of_pytorch_train_one_model(tmp_path):
    runs = [(tmp_path / "alone", 1, 0), (tmp_path / "together", 2, 0), (tmp_path / "together", 2, 1)]
    one, *two = answers_of(loop_and_fit_on_pytorch, *runs)
    for answer in two:
        for losses, expected in zip(answer, one, strict=True):
            np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)
            assert expected[-1] < expected[0]
