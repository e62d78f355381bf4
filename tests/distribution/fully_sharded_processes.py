"""What `test_fully_shard.py` runs, once in each process: a model divided over them, and what it trains, as JSON.

`python -m tests.distribution.fully_sharded_processes FOLDER PROCESSES INDEX`, on PyTorch. Where there is one process,
nothing is divided.
"""

import contextlib
import json
import sys
import weakref
from pathlib import Path

import keras
import numpy as np
import torch

from keras_griffin.distribution import LocalRows, fully_shard, gathered
from keras_griffin.models import Griffin
from keras_griffin.training import AdamW
from tests.distribution import tiny

OPTIMIZERS = {
    "gradients accumulated": lambda: AdamW(1e-2, gradient_accumulation_steps=2, drop_nonfinite=True),
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adafactor": lambda: keras.optimizers.Adafactor(1e-2),
    "Muon": lambda: keras.optimizers.Muon(1e-2),
}


class Packed(tiny.Batches):
    """Packed rows; every row has the same weight, so that a mean of two halves' means is the whole's."""

    def __getitem__(self, index):
        inputs, targets, weights = tiny.packed()
        weights = weights / weights.sum(axis=1, keepdims=True)
        rows = slice(8 * index, 8 * index + 8)
        return {name: x[rows] for name, x in inputs.items()}, targets[rows], weights[rows]


class Chunks(tiny.Batches):
    """The windows as chunk 0 and chunk 1 of eight texts."""

    def __getitem__(self, index):
        tokens, targets = super().__getitem__(index)
        inputs = {"token_ids": tokens, "segment_ids": np.ones_like(tokens), "chunk": np.full(8, index, "int32")}
        return inputs, targets


class Group:
    """This process among the others, and what it has to say."""

    def __init__(self, folder, processes, index):
        self.folder, self.processes, self.index, self.answers = folder, processes, index, {}
        if processes > 1:
            torch.distributed.init_process_group("gloo", f"file://{folder / 'group'}", rank=index, world_size=processes)

    def divide(self, model, **options):
        if self.processes > 1:
            fully_shard(model, **options)
        return model

    def made(self, **kwargs):
        return self.divide(tiny.model(**kwargs))

    def whole(self, model):
        """Where one process may read alone."""
        return gathered(model) if self.processes > 1 else contextlib.nullcontext()

    def note(self, name, trained, data=tiny.Batches):
        """Train and evaluate: the losses and what became of the weights."""
        rows = LocalRows(data(), self.index, self.processes)
        losses = trained.fit(rows, epochs=tiny.EPOCHS, shuffle=False, verbose=0).history["loss"]
        losses += [trained.evaluate(rows, verbose=0, return_dict=True)["loss"]]
        self.say(name, losses, trained)

    def say(self, name, losses, trained):
        losses = [float(loss) for loss in losses]
        self.answers[name] = {"losses": losses, "weights": sums(trained.trainable_variables)}


def train_every_kind(group):
    group.note("fit", group.made())
    rematerialized = group.made()
    rematerialized.rematerialize = True
    group.note("rematerialized", rematerialized)
    group.note("bfloat16", group.made(dtype="mixed_bfloat16"))
    for name, optimizer in OPTIMIZERS.items():
        trained = group.made()
        trained.compile(optimizer(), trained.loss)
        group.note(name, trained)
    group.note("packed", group.divide(tiny.model(), reshard_after_forward=False).packed(), Packed)
    model = tiny.model()
    made_before = model.packed(logits=False)
    # What it remembers is divided too.
    made_before.optimizer.build(made_before.trainable_variables)
    group.divide(model, reshard_after_forward=True)
    group.note("packed, without logits", made_before, Packed)
    rematerialized = group.made()
    rematerialized.rematerialize = True
    group.note("carried, rematerialized", rematerialized.carried(8 // group.processes), Chunks)


def train_in_a_loop(group):
    """A loop of a user's own, with an optimizer of PyTorch."""
    model, losses = group.made(), []
    tokens, targets = LocalRows(tiny.Batches(), group.index, group.processes)[0]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model.loss(targets, model(tokens))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    group.say("loop", losses, model)


def train_after_a_fault(group):
    """A step that fails, on its way forward or back, leaves the model as it was, and the next step too."""
    for way in ("forward", "backward"):
        model = group.made()
        part = model.blocks[1].mlp
        call = part.call

        def fail(*arguments):
            raise RuntimeError("a fault")

        def failing(inputs, call=call, way=way, fail=fail):
            outputs = call(inputs)
            # Keras asks for shapes first, without a gradient.
            if outputs.requires_grad:
                fail() if way == "forward" else outputs.register_hook(fail)
            return outputs

        part.call = failing
        try:
            model.fit(LocalRows(tiny.Batches(), group.index, group.processes), verbose=0)
        except RuntimeError as error:
            assert "a fault" in str(error)
            part.call = call
            group.note(f"after a fault {way}", model)


def save_and_decode(group):
    """What one process saves and says alone, between two trainings; and weights that come from outside."""
    model, answers, path = group.made(), {}, group.folder / f"{group.processes}.keras"
    for moment in ("early", "late"):
        model.fit(LocalRows(tiny.Batches(), group.index, group.processes), epochs=1, shuffle=False, verbose=0)
        with group.whole(model):
            whole = weakref.ref(model.weights[0].value)
            if group.index == 0:
                answers[moment] = said(model)
                model.save(path)
        answers[f"{moment}, freed"] = whole() is None or group.processes == 1
        if group.index == 0:
            loaded = keras.saving.load_model(path)
            answers[f"{moment}, loaded"] = said(loaded)
            answers[f"{moment}, slots"] = sum(sums(loaded.optimizer.variables))
    # Until the file is there.
    if group.processes > 1:
        torch.distributed.barrier()
    other = group.made()
    other.load_weights(path)
    answers["read"] = sums(other.weights) == sums(model.weights)
    doubled = [2 * weight for weight in model.get_weights()]
    with group.whole(other):
        other.set_weights(doubled)
        answers["assigned"] = [sums(other.weights) == sums(doubled)]
    answers["assigned"] += [sums(other.weights) == sums(doubled)]
    group.answers["saved"] = answers


def said(model):
    return np.asarray(model.generate([[1, 2, 3]], 12)).tolist()


def sums(values):
    return [float(np.abs(np.asarray(value, "float64")).sum()) for value in values]


def differ(group):
    """Begin with other weights in each process."""
    if group.processes > 1:
        keras.utils.set_random_seed(group.index)
        try:
            fully_shard(Griffin(tiny.CONFIG))
        except ValueError as error:
            group.answers["other weights"] = str(error)


def main(folder, processes, index):
    group = Group(folder, processes, index)
    train_every_kind(group)
    train_in_a_loop(group)
    train_after_a_fault(group)
    save_and_decode(group)
    differ(group)
    print("ANSWERS" + json.dumps(group.answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
