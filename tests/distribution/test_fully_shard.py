"""A model whose weights are divided over processes of PyTorch trains as it does in one, and says what it can't do."""

import contextlib
import weakref

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("FSDP2 is PyTorch's", allow_module_level=True)

import torch
from torch.distributed import checkpoint
from torch.distributed.fsdp import FSDPModule

from keras_griffin.distribution import LocalRows, fully_shard, gathered
from keras_griffin.models import Griffin
from keras_griffin.training import AdamW
from tests.distribution import tiny
from tests.distribution.processes import answers_of

if not hasattr(FSDPModule, "reset_iter_state"):
    pytest.skip("needs PyTorch 2.13", allow_module_level=True)

OPTIMIZERS = {
    "gradients accumulated": lambda: AdamW(1e-2, gradient_accumulation_steps=2, drop_nonfinite=True),
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adafactor": lambda: keras.optimizers.Adafactor(1e-2),
    "Muon": lambda: keras.optimizers.Muon(1e-2),
}


#: Processes, and which of them: one alone, beside two.
PLACES = (1, 0), (2, 0), (2, 1)


class Packed(tiny.Batches):
    """Packed rows, of which some have more padding."""

    def __getitem__(self, index):
        return keras.tree.map_structure(lambda x: x[8 * index : 8 * index + 8], tiny.packed())


class Chunks(tiny.Batches):
    """The windows as chunk 0 and chunk 1 of eight texts."""

    def __getitem__(self, index):
        tokens, targets = super().__getitem__(index)
        inputs = {"token_ids": tokens, "segment_ids": np.ones_like(tokens), "chunk": np.full(8, index, "int32")}
        return inputs, targets


class Group:
    """This process among the others; with one process nothing is divided."""

    def __init__(self, folder, processes, index):
        self.folder, self.processes, self.index, self.answers = folder, processes, index, {}
        self.many = processes > 1
        folder.mkdir(exist_ok=True)
        if self.many:
            torch.distributed.init_process_group("gloo", f"file://{folder / 'group'}", rank=index, world_size=processes)

    def divided(self, model, **options):
        if self.many:
            fully_shard(model, **options)
        return model

    def gathered(self, model):
        """Where one process may read alone."""
        return gathered(model) if self.many else contextlib.nullcontext()

    def rows(self, data=tiny.Batches):
        return LocalRows(data(), self.index, self.processes)

    def train(self, name, trained, data=tiny.Batches):
        losses = trained.fit(self.rows(data), epochs=tiny.EPOCHS, shuffle=False, verbose=0).history["loss"]
        losses += [trained.evaluate(self.rows(data), verbose=0, return_dict=True)["loss"]]
        self.answers[name] = {"losses": losses, "weights": sums(trained.trainable_variables)}


def train_every_kind(group):
    group.train("fit", group.divided(tiny.model()))
    group.train("rematerialized", group.divided(tiny.model(rematerialize=True)))
    group.train("bfloat16", group.divided(tiny.model(dtype="mixed_bfloat16")))
    for name, optimizer in OPTIMIZERS.items():
        trained = group.divided(tiny.model())
        trained.compile(optimizer(), trained.loss)
        group.train(name, trained)
    group.train("packed", group.divided(tiny.model(), reshard_after_forward=False).packed(), Packed)
    model = tiny.model()
    made_before = model.packed(logits=False)
    # Its slots are divided too.
    made_before.optimizer.build(made_before.trainable_variables)
    group.divided(model, reshard_after_forward=True)
    group.train("packed, without logits", made_before, Packed)
    rematerialized = group.divided(tiny.model(rematerialize=True))
    group.train("carried", rematerialized.carried(8), Chunks)


def train_in_a_loop(group):
    """A loop of a user's own, with an optimizer of PyTorch."""
    model, losses = group.divided(tiny.model()), []
    tokens, targets = group.rows()[0]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model.loss(targets, model(tokens))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    group.answers["loop"] = {"losses": losses, "weights": sums(model.trainable_variables)}


def train_after_a_fault(group):
    """A step that fails, on its way forward or back, leaves the model as it was, and the next step too."""
    for way in ("forward", "backward"):
        model = group.divided(tiny.model())
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
            model.fit(group.rows(), verbose=0)
        except RuntimeError as error:
            assert "a fault" in str(error)
            part.call = call
            group.train(f"after a fault {way}", model)


def save_and_decode(group):
    """What one process saves and says alone, between two trainings; and weights that come from outside."""
    model, answers, path = group.divided(tiny.model()), {}, group.folder / f"{group.processes}.keras"
    for moment in ("early", "late"):
        model.fit(group.rows(), epochs=1, shuffle=False, verbose=0)
        with group.gathered(model):
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
    if group.many:
        torch.distributed.barrier()
    other = group.divided(tiny.model())
    other.load_weights(path)
    answers["read"] = sums(other.weights) == sums(model.weights)
    doubled = [2 * weight for weight in model.get_weights()]
    with group.gathered(other):
        other.set_weights(doubled)
        answers["assigned"] = [sums(other.weights) == sums(doubled)]
    answers["assigned"] += [sums(other.weights) == sums(doubled)]
    group.answers["saved"] = answers


def state_in_parts(group, epochs):
    """The variables of a model and its optimizer, by number, as PyTorch's checkpoints take them, and their sums."""
    model = group.divided(tiny.model())
    model.optimizer.build(model.trainable_variables)
    if epochs:
        model.fit(group.rows(), epochs=epochs, shuffle=False, verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    return {str(number): variable.value for number, variable in enumerate(variables)}, lambda: sums(variables)


def save_in_parts(group):
    """Each process writes its part."""
    state, sums_of_it = state_in_parts(group, 1)
    checkpoint.save(state, checkpoint_id=group.folder / f"{group.processes}", no_dist=not group.many)
    group.answers["parts"] = sums_of_it()


def load_in_parts(folder, processes, index):
    """What processes read of a checkpoint that another number of them has written."""
    group = Group(folder / "again", processes, index)
    state, sums_of_it = state_in_parts(group, 0)
    checkpoint.load(state, checkpoint_id=folder / f"{3 - processes}", no_dist=not group.many)
    return sums_of_it()


def said(model):
    return np.asarray(model.generate([[1, 2, 3]], 12)).tolist()


def sums(values):
    return [float(np.abs(np.asarray(value, "float64")).sum()) for value in values]


def differ(group):
    """Begin with other weights in each process."""
    if group.many:
        keras.utils.set_random_seed(group.index)
        try:
            fully_shard(Griffin(tiny.CONFIG))
        except ValueError as error:
            group.answers["other weights"] = str(error)


def in_a_process(*place):
    group = Group(*place)
    for act in (train_every_kind, train_in_a_loop, train_after_a_fault, save_and_decode, save_in_parts, differ):
        act(group)
    return group.answers


@pytest.mark.slow
def test_two_processes_train_and_keep_one_model(tmp_path):
    one, *two = answers_of(in_a_process, *((tmp_path, *place) for place in PLACES))
    saved, first, second = (answers.pop("saved") for answers in (one, *two))
    parts = [answers.pop("parts") for answers in (one, *two)]
    read = answers_of(load_in_parts, *((tmp_path, *place) for place in PLACES))
    assert read == [parts[1], parts[0], parts[0]] and parts[1] == parts[2]
    assert len(one) == 13
    for name, expected in one.items():
        # In bfloat16 the gradient of each half is rounded by itself.
        tolerance = {"rtol": 1e-3} if name == "bfloat16" else {"rtol": 2e-7, "atol": 1e-6}
        for part in ("losses", "weights"):
            each = [answers[name][part] for answers in two]
            # In a user's own loop, each process knows the loss of its own rows.
            assert each[0] == each[1] or (name, part) == ("loop", "losses")
            np.testing.assert_allclose(np.mean(each, axis=0), expected[part], **tolerance, err_msg=f"{name} {part}")
        assert expected["losses"][-1] < expected["losses"][0]
    assert one["after a fault forward"] == one["after a fault backward"] == one["fit"]
    for answers in (saved, first):
        for moment in ("early", "late"):
            assert answers[moment] == answers[f"{moment}, loaded"] == saved[moment]
            assert answers[f"{moment}, slots"] == pytest.approx(saved[f"{moment}, slots"], rel=1e-6)
        assert answers["early"] != answers["late"]
    assert saved["early, slots"] > 1
    for answers in two:
        assert answers["other weights"].startswith("fully_shard: the processes must begin with the same weights, by ")
        assert answers["other weights"].endswith("Got different ones in process 1.")
    for answers in (saved, first, second):
        assert answers["read"] and answers["assigned"] == [True, True]
        assert answers["early, freed"] and answers["late, freed"]


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def refusal(act):
    with pytest.raises(ValueError) as error:
        act()
    return str(error.value)


def test_what_a_divided_model_refuses(group):
    model, (tokens, targets) = tiny.model(), tiny.windows()
    fully_shard(model)
    state = model.initial_state(len(tokens))
    whole = "the weights must be whole. Got weights sharded by fully_shard: call it within "
    whole += "keras_griffin.distribution.gathered(model), in every process."
    for name, act in [
        ("advance", lambda: model.advance(tokens, state)),
        ("advance", lambda: model.generate([[1]], 4)),
        ("advance", lambda: model.score([[1, 2]])),
        ("logits", lambda: model.logits(state.last[:, None])),
    ]:
        assert refusal(act) == f"{name}: {whole}"
    assert refusal(lambda: fully_shard(model)).endswith("Got one that has been given to several processes already.")
    assert refusal(lambda: model.quantize("int8")).startswith("quantize: the weights must not be divided.")
    packed = model.packed(logits=False)
    rows = {"token_ids": tokens, "segment_ids": np.ones_like(tokens)}
    with gathered(model):
        sentence = (
            "gradients are not shared within gathered(model): train outside of it, and inside call the model "
            "within torch.no_grad(). Got a call that records gradients."
        )
        assert refusal(lambda: model.fit(tokens, targets, verbose=0)) == f"Griffin: {sentence}"
        assert refusal(lambda: packed.train_on_batch(rows, targets)) == f"PackedWithoutLogits: {sentence}"
        expected = model.predict(tokens, verbose=0)
    np.testing.assert_array_equal(model.predict(tokens, verbose=0), expected)
    model.token_embedding.enable_lora(2)
    message = refusal(lambda: model.fit(tokens, targets, verbose=0))
    assert message.startswith("Griffin: every trainable weight must be sharded by fully_shard, or each process would ")
    assert message.endswith("Got unsharded token_embedding/lora_embeddings_a, token_embedding/lora_embeddings_b.")


def test_what_can_not_be_divided():
    message = refusal(lambda: fully_shard(tiny.model()))
    assert message == "fully_shard: torch.distributed.init_process_group must have been called. Got no group."
    assert refusal(lambda: fully_shard(keras.layers.Dense(2))).startswith("fully_shard: the model must be a Langua")
