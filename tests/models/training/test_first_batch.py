"""`FirstBatch`: what `fit`, `evaluate` and `predict` refuse before a step, by `BatchRules` and `check_batch`."""

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin
from keras_griffin.models.training.first_batch import BatchRules, check_batch, rules_of_loss
from keras_griffin.testing.arrays import as_array
from tests.models.tiny import TINY, strong

CONFIG = TINY.replace(num_layers=1)
TOKENS = np.random.default_rng(0).integers(0, 12, (2, 4)).astype("int32")
OUTSIDE = np.array([[1, 2, 3, 13], [-1, 5, 6, 7]], "int32")
SEGMENTS = np.ones_like(TOKENS)
#: NumPy's backend has no `fit`.
METHODS = ("evaluate", "predict") if keras.backend.backend() == "numpy" else ("fit", "evaluate", "predict")
QUESTION = r" Does the tokenizer belong to this model\?$"


class Rows(keras.utils.PyDataset):
    """One batch again and again, which is counted."""

    num_batches = 2

    def __init__(self, *batch):
        super().__init__()
        self.batch, self.given = batch, 0

    def __getitem__(self, index):
        self.given += 1
        return self.batch


@pytest.fixture(scope="module")
def models():
    """The kinds of model by name, with one language model's weights, and the inputs of each of given tokens."""
    plain = strong(Griffin(CONFIG))
    names = {"segment_ids": SEGMENTS, "chunk": np.zeros(2, "int32")}

    def packed(tokens):
        return {"token_ids": tokens, "segment_ids": SEGMENTS}

    return {
        "plain": (plain, lambda tokens: tokens),
        "packed": (plain.packed(), packed),
        "pieces": (plain.packed(logits=False), packed),
        "carried": (plain.carried(2), lambda tokens: {"token_ids": tokens, **names}),
    }


def call(model, method, data, *args):
    """A method of a model, of which the carried one asks for a dataset in order."""
    getattr(model, method)(data, *args, verbose=0, **({"shuffle": False} if method == "fit" else {}))


@pytest.mark.parametrize("kind", ["plain", "packed", "pieces", "carried"])
def test_ids_outside_in_the_first_batch_of_a_dataset(models, kind):
    model, inputs = models[kind]
    before = model.get_weights()
    for method in METHODS:
        match = rf"^{method}: {{}} must be from 0 to 12\. Got {{}} from -1 to 13\.{QUESTION}"
        with pytest.raises(ValueError, match=match.format("token ids", "ids")):
            call(model, method, Rows(inputs(OUTSIDE), TOKENS))
        if method != "predict":
            with pytest.raises(ValueError, match=match.format("targets", "targets")):
                call(model, method, Rows(inputs(TOKENS), OUTSIDE))
    if "fit" in METHODS:
        with pytest.raises(ValueError, match=r"^fit: targets must be from 0 to 12\. Got targets from -1 to 13\."):
            model.fit(Rows(inputs(TOKENS), TOKENS), validation_data=Rows(inputs(TOKENS), OUTSIDE), shuffle=False)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def generator(batch):
    yield from [batch] * 3


def loader(batch):
    data = pytest.importorskip("torch").utils.data
    return data.DataLoader(list(zip(*batch, strict=True)), batch_size=2)


@pytest.mark.parametrize("made", [generator, loader])
def test_ids_outside_in_any_loader(models, made):
    model, _ = models["plain"]
    for method in METHODS:
        with pytest.raises(ValueError, match=rf"^{method}: token ids must be from 0 to 12\. Got ids from -1 to 13\."):
            call(model, method, made((OUTSIDE, TOKENS)))
    model.evaluate(made((TOKENS, TOKENS)), steps=1, verbose=0)


def test_no_batch_is_lost(models):
    """A generator's first batch is put back, and a dataset is asked for its first batch once more."""
    model, _ = models["plain"]
    given = model.predict(((TOKENS + n,) for n in range(2)), steps=2, verbose=0)
    expected = [as_array(model.predict_on_batch(TOKENS + n)) for n in range(2)]
    np.testing.assert_array_equal(given, np.concatenate(expected))
    rows = Rows(TOKENS, TOKENS)
    keras_alone = {"tensorflow": 4}.get(keras.backend.backend(), 2)
    for _ in range(2):
        model.evaluate(rows, verbose=0)
    # Keras's own first look is in the first call alone.
    assert 2 * keras_alone + 2 <= rows.given <= 2 * keras_alone + 3


def refusals(inputs):
    """`(x, y, sample_weight)` that `fit` refuses, and how its sentence begins."""
    good = inputs(TOKENS)
    yield good, None, None, "targets must be given: for each token the next one, shape (B, T). Got none."
    yield good, TOKENS[:, 1:], None, "targets must be one for each token, shape (2, 4). Got shape (2, 3)."
    yield good, TOKENS.astype("float32"), None, "targets must be integers. Got dtype float32."
    yield good, TOKENS, np.ones((2, 3)), "sample weights must be one for each token or row, shape (2, 4) or (2,). Got"
    yield inputs(TOKENS.astype("float32")), TOKENS, None, "token ids must be integers. Got dtype float32."
    yield inputs(TOKENS[..., None]), TOKENS, None, "token ids must have shape (B, T). Got (2, 4, 1)."
    yield inputs(TOKENS[:, 0]), TOKENS, None, "token ids must have shape (B, T). Got (2,)."
    yield inputs(OUTSIDE), TOKENS, None, "token ids must be from 0 to 12."
    yield good, OUTSIDE, None, "targets must be from 0 to 12."


@pytest.mark.trainable
def test_a_refused_or_failed_fit_leaves_the_weights(models):
    """Failed by an interruption or for want of memory: Keras, on JAX, has then taken the weights out of variables."""
    model, inputs = models["plain"]
    before = model.get_weights()
    model.fit(TOKENS, TOKENS, verbose=0)
    trained, text = model.get_weights(), model.generate(TOKENS, 3)
    for kind in ("plain", "packed", "pieces"):
        for x, y, weights, sentence in refusals(models[kind][1]):
            with pytest.raises(ValueError) as error:
                models[kind][0].fit(x, y, sample_weight=weights)
            assert str(error.value).startswith(f"fit: {sentence}")

    def interrupt(*args):
        raise KeyboardInterrupt

    model.train_function = interrupt
    with pytest.raises(KeyboardInterrupt):
        model.fit(TOKENS, TOKENS, verbose=0)
    for one, other in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.generate(TOKENS, 3), text)
    model.train_function = None
    model.set_weights(before)


def test_what_has_no_weight_may_be_anything():
    rules = BatchRules((), 13, **rules_of_loss(keras.losses.SparseCategoricalCrossentropy(from_logits=True)))
    check_batch("fit", rules, TOKENS, OUTSIDE, (OUTSIDE >= 0) & (OUTSIDE < 13))
    check_batch("fit", rules, TOKENS, np.where(TOKENS > 5, -100, TOKENS)[..., None], TOKENS <= 5)
    with pytest.raises(ValueError, match=r"Got targets from -1 to 7\."):
        check_batch("fit", rules, TOKENS, OUTSIDE, np.array([0.0, 1.0]))
    packed = BatchRules(("token_ids", "segment_ids"), 13)
    check_batch("fit", packed, {"token_ids": OUTSIDE, "segment_ids": (OUTSIDE >= 0) & (OUTSIDE < 13) * 1})


def test_other_losses_ask_for_other_targets():
    ids = {"wants_targets": True, "targets_are_ids": True, "ignored": None}
    assert rules_of_loss(keras.losses.SparseCategoricalCrossentropy(True)) == ids
    assert rules_of_loss(keras.losses.SparseCategoricalCrossentropy(True, -1)) == {**ids, "ignored": -1}
    assert rules_of_loss("mse") == {**ids, "targets_are_ids": False}
    assert rules_of_loss(None) == {**ids, "wants_targets": False, "targets_are_ids": False}


@pytest.mark.trainable
@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_class_weights_are_refused(models, method):
    """Keras would weight a row by the class that is the place of its largest target."""
    model, _ = models["plain"]
    with pytest.raises(ValueError, match=rf"^{method}: class weights must .* Got class_weight=\{{0: 2\.0\}}\.$"):
        getattr(model, method)(TOKENS, TOKENS, class_weight={0: 2.0})


def test_lists_are_taken_for_arrays(models):
    model, inputs = models["packed"]
    lists = {name: array.tolist() for name, array in inputs(TOKENS).items()}
    assert model.evaluate(lists, TOKENS.tolist(), sample_weight=np.ones_like(TOKENS).tolist(), verbose=0) > 0
    plain, _ = models["plain"]
    np.testing.assert_array_equal(plain.predict(TOKENS.tolist(), verbose=0), plain.predict(TOKENS, verbose=0))
    with pytest.raises(ValueError, match=r"^predict: token ids must be rows of one length\. Got \[\[1, 2\], "):
        plain.predict([[1, 2], [3]])


def test_workers_are_not_started_for_the_check():
    torch = pytest.importorskip("torch")

    class Documents(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            assert torch.utils.data.get_worker_info() is None
            return OUTSIDE[index], TOKENS[index]

    data = torch.utils.data.DataLoader(Documents(), batch_size=2, num_workers=1)
    with pytest.raises(ValueError, match="predict: token ids must be from 0 to 12"):
        Griffin(CONFIG).predict(data)
    assert data.num_workers == 1
