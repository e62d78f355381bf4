import json

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import (
    AdamW,
    ConsecutiveChunks,
    HeldOutWindows,
    PackedDocuments,
    RandomWindows,
    TokenFile,
    write_token_file,
)
from keras_griffin.training.resuming import run_description
from keras_griffin.training.resuming.run_description import (
    check_same_run,
    describe_data,
    describe_fit,
    describe_run,
    describe_shares,
)

pytestmark = pytest.mark.any_backend

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, window=4)
TEXT = np.arange(200, dtype="uint8")
DOCUMENTS = [np.arange(length) for length in (9, 4, 17)]


def differences(saved, given):
    """What the message names; None if the runs are the same."""
    try:
        check_same_run(saved, given)
    except ValueError as error:
        rule, _, named = str(error).partition(" Got ")
        assert rule == "ResumableRun: a run must resume with the settings that it began with." and "\n" not in named
        return named


def small_model():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def described(config=CONFIG, text=TEXT, optimizer=None, dtype=None, **settings):
    model = Griffin(config, dtype=dtype)
    model.compile(optimizer or AdamW(1e-3), model.loss)
    settings = {"sequence_length": 8, "batch_size": 2, "num_batches": 5, "seed": 0, **settings}
    return describe_run(model, RandomWindows(text, **settings))


def test_the_same_settings_are_the_same_whatever_keras_calls_them():
    assert differences(described(), described(seed=np.int64(0))) is None
    one, other = (describe_run(small_model(), RandomWindows(TEXT, 8, 2, 5)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": CONFIG.replace(window=8)}, "model.window 8 instead of 4"),
        ({"optimizer": AdamW(2e-3)}, "compiled.optimizer.learning_rate 0.0020"),
        ({"optimizer": AdamW(1e-3, gradient_accumulation_steps=2)}, "gradient_accumulation_steps 2 instead of null"),
        ({"optimizer": keras.optimizers.SGD(1e-3)}, "compiled.optimizer.class_name"),
        ({"dtype": "mixed_bfloat16"}, 'dtypes ["14 layers in bfloat16"] instead of ["14 layers in float32"]'),
        ({"batch_size": 3}, "data.batch_size 3 instead of 2"),
        ({"num_batches": 6}, "data.num_batches 6 instead of 5"),
        ({"seed": 1}, "data.seed 1 instead of 0"),
        ({"seed": np.int64(1)}, "data.seed 1 instead of 0"),
        ({"text": TEXT[:150], "seed": 1}, 'data.seed 1 instead of 0, data.text ["150 tokens", '),
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
    old, new = (one["data"]["text"] for one in (then, now))
    assert old[0] == new[0] == "200 tokens"
    assert differences(then, now) == f"data.text {json.dumps(new)} instead of {json.dumps(old)}."
    assert differences(describe_shares([then, then]), describe_shares([then, now])) == (
        f"shares.process 1.data.text.1 {new[1]} instead of nothing, shares.processes 2 instead of nothing."
    )


def test_another_first_batch_from_the_same_settings_is_named():
    then = described()
    assert differences({**then, "first_batch": 5}, then) == f"first_batch {then['first_batch']} instead of 5."


def test_processes_that_share_batches_may_be_of_any_number():
    model = small_model()

    def shares(*places, seed=0):
        windows = RandomWindows(TEXT, 8, 4, 5, seed=seed)
        return describe_shares([describe_run(model, LocalRows(windows, *place)) for place in places])

    two = shares((0, 2), (1, 2))
    assert two == shares((0, 1)) == describe_run(model, RandomWindows(TEXT, 8, 4, 5)) | {"shares": {}}
    assert differences(two, shares((0, 2), (1, 2), seed=1)) == "data.seed 1 instead of 0."


def test_a_run_of_an_earlier_version_goes_on_with_a_warning():
    now = describe_run(small_model(), RandomWindows(TEXT, 8, 2, 5))
    then = {name: part for name, part in now.items() if name != "dtypes"}
    with pytest.warns(UserWarning, match="has no record of the dtypes .* Got 1 layer in float32.$"):
        assert differences({**then, "processes": 2}, now) is None


def test_the_global_policy_is_not_a_dtype_of_a_model_that_has_its_own():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        under_another = described(dtype="float32")
    finally:
        keras.config.set_dtype_policy("float32")
    assert differences(described(), under_another) is None


def test_which_layer_computes_in_which_dtype_is_found():
    def of_two(*policies):
        layers = [keras.layers.Dense(8, dtype=policy) for policy in policies]
        model = keras.Sequential([keras.Input((8,)), *layers])
        model.compile("adam", "mse")
        return describe_run(model, RandomWindows(TEXT, 8, 2, 5))

    one, other = of_two("float32", "mixed_bfloat16"), of_two("mixed_bfloat16", "float32")
    assert differences(one, other) == (
        'dtypes ["1 layer in bfloat16", "1 layer in float32"] instead of ["1 layer in float32", "1 layer in bfloat16"].'
    )


def test_steps_are_the_options_of_fit_and_the_batches_that_are_validated():
    windows = RandomWindows(TEXT, 8, 4, 5)
    own = describe_fit(windows, (TEXT, TEXT), {"epochs": 2, "class_weight": {np.int64(1): np.float32(2)}})
    assert own == {
        "fit": {"epochs": 2, "class_weight": {"1": "2.0"}, "validation_data": {"class_name": "tuple", "rows": 200}},
        "num_batches": 5,
    }
    for data, expected in (
        (None, {"class_name": "NoneType"}),
        (windows, {"class_name": "RandomWindows", "num_batches": 5}),
        (LocalRows(windows, 0, 2), describe_data(windows)),
        ((), {"class_name": "tuple", "rows": 0}),
    ):
        assert describe_fit(LocalRows(windows, 0, 2), data, {}) == {"fit": {"validation_data": expected}}


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


DATASETS = {
    "RandomWindows": lambda: RandomWindows(TEXT, 8, 2, 5),
    "HeldOutWindows": lambda: HeldOutWindows(TEXT, 8, 2),
    "PackedDocuments": lambda: PackedDocuments(DOCUMENTS, 8, 2),
    "ConsecutiveChunks": lambda: ConsecutiveChunks(DOCUMENTS, 8, 2),
    "one that keeps its batches": Remembering,
}


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_that_was_used_is_what_it_was_when_it_was_new(name):
    model, used = small_model(), DATASETS[name]()
    for epoch in (1, 0):
        used.epoch = epoch
        for index in range(used.num_batches):
            used[index]
    assert differences(describe_run(model, DATASETS[name]()), describe_run(model, used)) is None


def test_no_more_than_some_are_named():
    changes = {name: index for index, name in enumerate("abcdef")}
    named = differences({"dtypes": []}, {"dtypes": [], **changes})
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


class Holding(keras.utils.PyDataset):
    num_batches = 1

    def __init__(self, value, private=None):
        super().__init__()
        self.value, self._private = value, private


def of(value):
    return describe_data(Holding(value))["value"]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (np.arange(8), np.arange(8)[::-1], "8 tokens"),
        (np.zeros(3), np.ones(3), "3 numbers"),
        (np.zeros((2, 3)), np.ones((2, 3)), "numbers (2, 3)"),
        ([1, 2, 3], [1, 2, 4], "3 tokens"),
        (DOCUMENTS, [*DOCUMENTS[:2], np.arange(17)[::-1]], "3 documents of 30 tokens"),
        # Where one ends and another begins.
        ([[1, 2], [3]], ([1], [2, 3]), "2 documents of 3 tokens"),
        (["ab", "é"], ["ab", "è"], "2 documents of 4 bytes"),
    ],
)
def test_one_corpus_is_not_another(one, other, words):
    assert of(one) == of(one) != of(other)
    assert of(one)[0] == of(other)[0] == words
    assert of({"x": one})["x"] == of(one)


def test_a_corpus_is_the_same_in_another_order_of_memory_or_list():
    grid = np.arange(12.0).reshape(3, 4)
    assert of(grid) == of(np.asfortranarray(grid))
    assert of(DOCUMENTS) == of([document.tolist() for document in DOCUMENTS]) == of(tuple(DOCUMENTS))
    assert of(keras.ops.convert_to_tensor(grid, "float32")) == of(grid.astype("float32"))


def test_what_is_no_corpus_is_known_by_its_value_or_its_type_and_size():
    assert [of(value) for value in (None, 3, "text")] == [None, 3, "text"]
    assert of("word " * 1000).startswith("SHA-256 ")
    assert [of([]), of([object()]), of(np.array([object()]))] == ["list of 0", "list of 1", "(1,) of object"]
    assert of(iter([])) == "list_iterator"
    # It may be a cache.
    for private in ({"a": 1}, [1, 2], "/a/path/on/this/machine"):
        assert describe_data(Holding(None, private=private))["private"] == type(private).__name__
    assert describe_data(Holding(None, private=np.zeros(3)))["private"] == "(3,) of float64"


def test_a_token_file_is_known_by_its_own_checksum(tmp_path):
    files = []
    for name, last in (("a", 16), ("b", 15)):
        write_token_file(tmp_path / name, [*DOCUMENTS[:2], np.arange(17) % (last + 1)], vocabulary_size=32)
        files.append(TokenFile(tmp_path / name))
    one, other = map(of, files)
    assert one == ["3 documents of 30 tokens", files[0].checksum] and one != other


def test_of_what_is_too_large_samples_are_read(monkeypatch):
    for name, value in {"WHOLE_BYTES": 100, "SAMPLES": 4, "SAMPLE_BYTES": 16}.items():
        monkeypatch.setattr(run_description, name, value)
    text = np.arange(400).astype("uint16")
    before = of(text)
    for place, is_seen in ((0, True), (399, True), (20, False)):
        changed = text.copy()
        changed[place] += 1
        assert (of(changed) != before) == is_seen
    assert before[0] == "400 tokens"
