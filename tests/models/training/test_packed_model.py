"""Packed rows, mostly without logits: `PackedWithoutLogits`, with `SharedModel`, `ChunkedLoss` and `packed_model`."""

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin
from keras_griffin.models.training.first_batch import check_tokens
from keras_griffin.models.training.packed_model import PackedWithoutLogits
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import PackedDocuments, RestOfEpoch, TokenFile, Tokens, write_token_file
from tests.models.tiny import TINY, strong

CONFIG = TINY.replace(logits_soft_cap=3.0)


def made(**kwargs):
    return strong(Griffin(CONFIG, **kwargs))


def batch():
    """Two rows of two documents, with padding of different lengths."""
    rng = np.random.default_rng(0)
    token_ids, targets = rng.integers(0, 13, (2, 2, 9)).astype("int32")
    segment_ids = np.array([[1, 1, 1, 2, 2, 2, 2, 2, 2], [1, 1, 2, 2, 0, 0, 0, 0, 0]], "int32")
    return {"token_ids": token_ids, "segment_ids": segment_ids}, targets, (segment_ids > 0).astype("float32")


def test_the_loss_is_that_of_the_logits():
    x, targets, weights = batch()
    model = made()
    whole, pieces = model.packed(), model.packed(logits=False)
    assert isinstance(pieces, PackedWithoutLogits)
    for weighted in ({"sample_weight": weights}, {}):
        expected = whole.evaluate(x, targets, verbose=0, return_dict=True, **weighted)["loss"]
        actual = pieces.evaluate(x, targets, verbose=0, return_dict=True, **weighted)
        np.testing.assert_allclose(actual["loss"], expected, rtol=1e-5)
        np.testing.assert_allclose(actual["bits"], expected / np.log(2), rtol=1e-5)
    assert_close(model.token_embedding(compiled(pieces)(x), reverse=True), as_array(compiled(whole)(x)))


# Of Keras's mean, on NumPy.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_targets_outside_the_vocabulary_count_where_they_have_weight():
    x, targets, weights = batch()
    packed = made().packed(logits=False)
    expected = packed.evaluate(x, targets, sample_weight=weights, verbose=0)[0]
    targets[weights == 0.0] = -1
    np.testing.assert_allclose(packed.evaluate(x, targets, sample_weight=weights, verbose=0)[0], expected, rtol=1e-6)
    assert packed.evaluate(x, targets, sample_weight=0 * weights, verbose=0)[0] == 0.0
    targets[0, 0] = 13
    assert np.isnan(np.ravel(packed.test_on_batch(x, targets, sample_weight=weights))[0])


@pytest.mark.trainable
@pytest.mark.parametrize("rematerialize", [False, True])
def test_a_step_is_that_of_the_logits(rematerialize):
    x, targets, weights = batch()
    steps, before = [], made().get_weights()
    for logits, again in ((True, False), (False, rematerialize)):
        model = made(rematerialize=again)
        model.set_weights(before)
        packed = model.packed(logits=logits)
        packed.compile(keras.optimizers.SGD(1.0), **({"loss": model.loss} if logits else {}))
        packed.train_on_batch(x, targets, sample_weight=weights)
        steps.append([new - old for new, old in zip(model.get_weights(), before, strict=True)])
    for expected, actual in zip(*steps, strict=True):
        assert_close(actual, expected, "float32")


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.parametrize("logits", [True, False])
def test_a_saved_model_goes_on(tmp_path, logits):
    """With its optimizer, which Keras alone would not build."""
    x, targets, weights = batch()
    packed = made().packed(logits=logits)
    packed.compile("adamw", weighted_metrics=[Tokens()])
    packed.train_on_batch(x, targets, sample_weight=weights)
    packed.save(tmp_path / "packed.keras")
    other = keras.saving.load_model(tmp_path / "packed.keras")
    np.testing.assert_array_equal(as_array(packed(x)), as_array(other(x)))
    logs = [m.train_on_batch(x, targets, sample_weight=weights, return_dict=True) for m in (packed, other)]
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-6)
    assert logs[1]["tokens"] == weights.sum()


def token_file(folder, vocabulary_size, **kwargs):
    path = folder / f"{vocabulary_size}.tokens"
    write_token_file(path, [np.arange(9)] * 4, vocabulary_size=vocabulary_size, **kwargs)
    return TokenFile(path)


@pytest.mark.any_backend
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("wrapped", [lambda data: data, RestOfEpoch])
def test_tokens_of_another_vocabulary(tmp_path, logits, wrapped):
    packed = made().packed(logits=logits)
    data, right = (wrapped(PackedDocuments(token_file(tmp_path, size), 9, 2)) for size in (14, 13))
    match = r"^check_model: the tokens must be of the model's vocabulary of 13. Got a vocabulary of 14, in '.*'\.$"
    with pytest.raises(ValueError, match=match):
        packed.evaluate(data)
    packed.evaluate(right, verbose=0)
    if keras.backend.backend() == "numpy":
        return
    for train, validation in ((data, right), (right, data)):
        with pytest.raises(ValueError, match=match):
            packed.fit(train, validation_data=validation, shuffle=False)


def test_tokens_of_another_tokenizer(tmp_path):
    model = Griffin(CONFIG.replace(vocabulary_size=300), tokenizer=ByteTokenizer())
    same, other = token_file(tmp_path, 256, tokenizer=ByteTokenizer()), token_file(tmp_path, 300)
    other.fingerprint = "00"
    # What says nothing of itself is not looked into.
    check_tokens(model, None, np.zeros(3), PackedDocuments([[1, 2]], 9, 2), PackedDocuments(same, 9, 2))
    with pytest.raises(ValueError, match="check_model: the tokens must be those of the model's tokenizer"):
        check_tokens(model, None, PackedDocuments(other, 9, 2))


def test_an_embedding_that_is_no_single_table():
    model = made()
    model.token_embedding.enable_lora(2)
    with pytest.raises(ValueError, match="PackedWithoutLogits: the embedding must have neither LoRA nor .* Got LoRA"):
        model.packed(logits=False)


@pytest.mark.parametrize(
    ("given", "names"),
    [({"loss": "mse"}, "loss"), ({"metrics": ["mae"]}, "metrics"), ({"weighted_metrics": ["mae"]}, "weighted_metrics")],
)
def test_what_can_not_be_compiled_without_logits(given, names):
    with pytest.raises(ValueError, match=f"compile: a model without logits has its own loss .* Got {names}."):
        made().packed(logits=False).compile("adamw", **given)
