import json

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import AdamW, ConsecutiveChunks, HeldOutWindows, PackedDocuments, RandomWindows
from keras_griffin.training.resuming.run_description import (
    check_same_run,
    describe_run,
    describe_shares,
)

pytestmark = pytest.mark.any_backend

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, window=4)
TEXT = np.arange(200, dtype="uint8")


def differences(saved, given):
    """What the message names; empty if the runs are the same."""
    try:
        check_same_run(saved, given)
    except ValueError as error:
        rule, _, named = str(error).partition(" Got ")
        assert rule == "ResumableRun: a run must resume with the settings that it began with." and "\n" not in named
        return named


def described(config=CONFIG, text=TEXT, optimizer=None, **settings):
    model = Griffin(config)
    model.compile(optimizer or AdamW(1e-3), model.loss)
    settings = {"sequence_length": 8, "batch_size": 2, "num_batches": 5, "seed": 0, **settings}
    return describe_run(model, RandomWindows(text, **settings))


def test_the_same_settings_are_the_same_whatever_keras_calls_them():
    assert differences(described(), described()) is None


def test_layers_with_numbered_names_are_the_same():
    def description():
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])
        model.compile("adam", "mse", metrics=["mae"])
        return describe_run(model, RandomWindows(TEXT, 8, 2, 5))

    assert description() == description()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": CONFIG.replace(window=8)}, "model.window 8 instead of 4"),
        ({"optimizer": AdamW(2e-3)}, "compiled.optimizer.learning_rate 0.0020"),
        ({"optimizer": AdamW(1e-3, gradient_accumulation_steps=2)}, "gradient_accumulation_steps 2 instead of null"),
        ({"optimizer": keras.optimizers.SGD(1e-3)}, "compiled.optimizer.class_name"),
        ({"batch_size": 3}, "data.batch_size 3 instead of 2"),
        ({"num_batches": 6}, "data.num_batches 6 instead of 5"),
        ({"seed": 1}, "data.seed 1 instead of 0"),
        ({"text": TEXT[:150]}, 'corpus.text ["150 tokens", '),
        ({"text": TEXT[:150], "seed": 1}, "data.seed 1 instead of 0, data.text"),
    ],
)
def test_what_differs_is_named_in_one_sentence(changes, named):
    assert named in differences(described(), described(**changes))


def test_another_corpus_is_found_where_the_first_batch_is_the_same():
    """Also that of another process."""
    text = TEXT.copy()
    text[-1] += 1
    then, now = described(), described(text=text)
    assert then["first_batch"] == now["first_batch"]
    old, new = (one["corpus"]["text"] for one in (then, now))
    assert old[0] == new[0] == "200 tokens"
    assert differences(then, now) == f"corpus.text {json.dumps(new)} instead of {json.dumps(old)}."
    assert differences(describe_shares([then, then]), describe_shares([then, now])) == (
        f"shares.process 1.corpus.text.1 {new[1]} instead of nothing."
    )


def test_another_first_batch_from_the_same_settings_is_named():
    then = described()
    assert differences({**then, "first_batch": 5}, then) == f"first_batch {then['first_batch']} instead of 5."


def test_the_number_of_processes_and_the_share_of_each_are_those_of_the_run():
    def shares(*places, seed=0):
        model = Griffin(CONFIG)
        windows = RandomWindows(TEXT, 8, 4, 5, seed=seed)
        return describe_shares([describe_run(model, LocalRows(windows, *place)) for place in places])

    two = shares((0, 2), (1, 2))
    assert differences(two, shares((0, 2), (1, 2))) is None
    assert differences(two, shares((0, 1))) == (
        "data.count 1 instead of 2, processes 1 instead of 2, shares.process 1.data.index nothing instead of 1."
    )
    assert "shares.process 1.data.index nothing instead of 1" in differences(two, shares((0, 2), (0, 2)))
    assert differences(two, shares((0, 2), (1, 2), seed=1)) == "data.data.seed 1 instead of 0."


class Remembering(keras.utils.PyDataset):
    """A dataset that keeps what it has made."""

    num_batches = 3

    def __init__(self):
        super().__init__()
        self.epoch = 0
        self._made = {}
        self._order = None

    def __getitem__(self, index):
        if self._order is None:
            self._order = np.arange(3)
        return self._made.setdefault((self.epoch, index), self._order[index] + np.zeros((2, 8)))


DOCUMENTS = [np.arange(length) for length in (9, 4, 17)]
DATASETS = {
    "RandomWindows": lambda: RandomWindows(TEXT, 8, 2, 5),
    "HeldOutWindows": lambda: HeldOutWindows(TEXT, 8, 2),
    "PackedDocuments": lambda: PackedDocuments(DOCUMENTS, 8, 2),
    "ConsecutiveChunks": lambda: ConsecutiveChunks(DOCUMENTS, 8, 2),
    "one that keeps its batches": Remembering,
}


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_that_was_used_is_what_it_was_when_it_was_new(name):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    used = DATASETS[name]()
    for epoch in (1, 0):
        used.epoch = epoch
        for index in range(used.num_batches):
            used[index]
    assert differences(describe_run(model, DATASETS[name]()), describe_run(model, used)) is None


def test_no_more_than_some_are_named():
    changes = {name: index for index, name in enumerate("abcdef")}
    named = differences({"same": 1}, {"same": 1, **changes})
    assert named.startswith("a 0 instead of nothing, ") and named.endswith(", d 3 instead of nothing, 2 more.")


def test_a_model_that_keras_cannot_write_is_its_class():
    class Own(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    model = Own(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    assert describe_run(model, RandomWindows(TEXT, 8, 2, 5))["model"] == "Own"


def test_long_texts_are_kept_as_digests():
    data = RandomWindows(TEXT, 8, 2, 5)
    data.vocabulary = "word " * 1000
    data.words = ["a", "b"]
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    data_facts = describe_run(model, data)["data"]
    assert data_facts["vocabulary"].startswith("SHA-256 ") and data_facts["words"] == "list of 2"
