"""One model in several processes of PyTorch has the losses that it has in one, and says what it can't do."""

import contextlib

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows, data_parallel, gathered
from keras_griffin.distribution.data_parallel import check_can_be_shared
from keras_griffin.training import default_optimizer
from tests.distribution.processes import answers_of
from tests.distribution.tiny import EPOCHS, ROWS, VOCABULARY, Batches, model, packed, windows

BACKEND = keras.backend.backend()


def fit_on_pytorch(data, of_rows, processes, index):
    """The losses, known to every process, of packed rows of unequal weight, with adapters that came later, or plain."""
    trained = model()
    if processes > 1:
        data_parallel(trained)
    if of_rows == "adapters":
        trained.enable_lora(2)
        if processes > 1:
            # Drawn differently in each process.
            with pytest.raises(
                ValueError, match="^data_parallel: the processes must begin with the same weights, .* 1"
            ):
                trained.fit(LocalRows(data(), index, processes), verbose=0)
        for number, weight in enumerate(trained.trainable_weights):
            weight.assign(np.random.default_rng(number).normal(size=weight.shape, scale=0.1))
    fitted = trained.packed(logits=of_rows == "logits") if data is Packed else trained
    shares = LocalRows(data(), index, processes)
    logs = fitted.fit(shares, epochs=EPOCHS, shuffle=False, verbose=0).history
    return [*logs["loss"], *logs.get("bits", ()), fitted.evaluate(shares, verbose=0, return_dict=True)["loss"]]


class Packed(Batches):
    """Packed rows, of which some have more padding."""

    def __getitem__(self, index):
        return keras.tree.map_structure(lambda x: x[8 * index : 8 * index + 8], packed())


class Uneven(Batches):
    """Packed rows: in one batch the second half is padding alone, in the other it has targets that no token is."""

    def __getitem__(self, index):
        inputs, targets, weights = keras.tree.map_structure(np.copy, packed())
        inputs["segment_ids"][4:8], weights[4:8], targets[4:8] = 0, 0, -1
        targets[14, weights[14] > 0] = VOCABULARY
        return keras.tree.map_structure(lambda x: x[8 * index : 8 * index + 8], (inputs, targets, weights))


def weights_after_uneven(logits, processes, index):
    """The sums of the weights after steps in which one process has nothing to predict, or a loss of NaN."""
    trained = model()
    if processes > 1:
        data_parallel(trained)
    fitted = trained.packed(logits=logits)
    fitted.compile(default_optimizer(trained, 1e-2, steps=4), **({"loss": trained.loss} if logits else {}))
    logs = fitted.fit(LocalRows(Uneven(), index, processes), epochs=EPOCHS, shuffle=False, verbose=0).history
    assert np.isnan(logs["loss"]).all()
    with contextlib.nullcontext() if processes == 1 else gathered(trained):
        if processes > 1:
            with pytest.raises(ValueError, match="^Packed.*: gradients are not shared within gathered"):
                fitted.fit(Uneven(), verbose=0)
        # Alone, though the other process does not.
        alone = trained.evaluate(*windows(), verbose=0) if index == 0 else None
    assert alone is None or np.isfinite(alone)
    return [float(np.abs(np.asarray(weight)).sum()) for weight in trained.weights]


KINDS = ((Batches, ""), (Batches, "adapters"), (Packed, "logits"), (Packed, ""))


def loop_and_fit_on_pytorch(file, processes, index):
    import torch

    torch.distributed.init_process_group("gloo", f"file://{file}", rank=index, world_size=processes)

    def mean_of(number):
        total = torch.tensor(number)
        torch.distributed.all_reduce(total)
        return total.item() / processes

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

    uneven = [weights_after_uneven(logits, processes, index) for logits in (True, False)]
    return uneven, losses, *(fit_on_pytorch(*kind, processes, index) for kind in KINDS)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's processes")
@pytest.mark.slow
def test_two_processes_of_pytorch_train_one_model(tmp_path):
    runs = [(tmp_path / "alone", 1, 0), (tmp_path / "together", 2, 0), (tmp_path / "together", 2, 1)]
    one, *two = map(list, answers_of(loop_and_fit_on_pytorch, *runs))
    weights = one.pop(0)
    for answer in two:
        np.testing.assert_allclose(answer.pop(0), weights, rtol=1e-5)
        for losses, expected in zip(answer, one, strict=True):
            np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)
            assert expected[1] < expected[0]
    # Of all rows, and not of its own.
    assert two[0][1:] == two[1][1:]


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's processes")
def test_what_several_processes_can_not_train():
    with pytest.raises(ValueError, match="^data_parallel: torch.distributed.init_process_group must have been called."):
        data_parallel(model())
    with pytest.raises(
        ValueError, match="^fully_shard: the model must be a LanguageModel, such as Griffin. Got <Dense"
    ):
        check_can_be_shared("fully_shard", keras.layers.Dense(2), "nothing")
