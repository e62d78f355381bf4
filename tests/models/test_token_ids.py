"""What `check_token_ids`, `as_rows` and `check_inputs` refuse, at every entrance of every kind of model."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.models import Griffin
from keras_griffin.testing.arrays import as_array
from tests.models.tiny import TINY

CONFIG = TINY.replace(num_layers=1)
TOKENS = np.random.default_rng(0).integers(0, 13, (4, 10)).astype("int32")
SEGMENTS = np.ones_like(TOKENS)
CHUNK = np.zeros(4, "int32")


@pytest.fixture(scope="module")
def model():
    return Griffin(CONFIG)


def inputs(segment_ids, token_ids=TOKENS):
    return {"token_ids": token_ids, "segment_ids": segment_ids}


@pytest.mark.parametrize(
    ("segment_ids", "sentence"),
    [
        (SEGMENTS[:, :9], r"integers, one for each token, shape \(4, 10\)\. Got dtype int32 and shape \(4, 9\)\.$"),
        (SEGMENTS[0], r"integers, one for each token, shape \(4, 10\)\. Got dtype int32 and shape \(10,\)\.$"),
        (SEGMENTS * 1.0, r"integers, one for each token, .* Got dtype float64 and shape \(4, 10\)\.$"),
        (SEGMENTS > 0, r"integers, one for each token, .* Got dtype bool and shape \(4, 10\)\.$"),
        (SEGMENTS - 2, r"at least 0\. Got -1\.$"),
        ((SEGMENTS - 2).tolist(), r"at least 0\. Got -1\.$"),
        (SEGMENTS.astype("int64") << 32, r"at most 2147483647\. Got 4294967296\.$"),
    ],
)
def test_segment_ids_at_every_entrance(model, segment_ids, sentence):
    packed, pieces, carried = model.packed(), model.packed(logits=False), model.carried(4)
    match = f": segment_ids must be {sentence}"
    with pytest.raises(ValueError, match=f"^advance{match}"):
        model.advance(TOKENS, model.initial_state(4), segment_ids=segment_ids)
    for kind, chunk in ((packed, {}), (pieces, {}), (carried, {"chunk": CHUNK})):
        x = {**inputs(segment_ids), **chunk}
        with pytest.raises(ValueError, match=f"^{type(kind).__name__}{match}"):
            kind(x)
        for method in ("evaluate", "predict"):
            with pytest.raises(ValueError, match=f"^{method}{match}"):
                getattr(kind, method)(x, *([TOKENS] if method == "evaluate" else []))
    if keras.backend.backend() != "numpy":
        with pytest.raises(ValueError, match=f"^fit{match}"):
            packed.fit(inputs(segment_ids), TOKENS)


def test_tensors_and_symbols_of_another_shape(model):
    packed = model.packed()
    match = r"^PackedModel: segment_ids must be integers, one for each token, shape \(4, 10\)\. Got .* \(4, 9\)\.$"
    with pytest.raises(ValueError, match=match):
        packed(inputs(ops.convert_to_tensor(SEGMENTS[:, :9]), ops.convert_to_tensor(TOKENS)))
    match = r"^PackedModel: segment_ids must be .* shape \(None, 10\)\. Got dtype int32 and shape \(None, 9\)\.$"
    with pytest.raises(ValueError, match=match):
        packed(inputs(keras.Input((9,), dtype="int32"), keras.Input((10,), dtype="int32")))
    # Sizes that nobody knows yet may fit.
    assert packed(inputs(keras.Input((None,), dtype="int32"), keras.Input((10,), dtype="int32"))).shape[-1] == 13


def test_inputs_of_another_kind_of_model(model):
    packed, carried = model.packed(), model.carried(4)
    two, three = inputs(SEGMENTS), {**inputs(SEGMENTS), "chunk": CHUNK}
    alone = r"the input must be token ids \(B, T\) alone, .* use model\.packed\(\)\. Got"
    for x, got in (
        (two, "a dict of segment_ids and token_ids"),
        ({"token_ids": TOKENS}, "a dict of token_ids"),
        ([TOKENS, SEGMENTS], "a list of 2"),
        ((TOKENS,), "a tuple of 1"),
    ):
        with pytest.raises(ValueError, match=rf"^Griffin: {alone} {got}\.$"):
            model(x)
        with pytest.raises(ValueError, match=rf"^evaluate: {alone} {got}\.$"):
            model.evaluate(x, TOKENS)
    for kind, x, sentence in (
        (packed, three, r"token_ids and segment_ids\. Got .*, which are for model\.carried\(\)\.$"),
        (packed, TOKENS, r"token_ids and segment_ids\. Got a ndarray\.$"),
        (carried, two, r"token_ids, segment_ids and chunk\. Got .*, which are for model\.packed"),
        (carried, {}, r"token_ids, segment_ids and chunk\. Got a dict of nothing\.$"),
    ):
        with pytest.raises(ValueError, match=f"^{type(kind).__name__}: inputs must be a dict of {sentence}"):
            kind(x)
        with pytest.raises(ValueError, match=f"^predict: inputs must be a dict of {sentence}"):
            kind.predict(x)


def test_at_padding_any_token_will_do(model):
    segment_ids = np.where(np.arange(10) < 7, SEGMENTS, 0)
    outside = np.where(segment_ids > 0, TOKENS, -100)
    packed, carried = model.packed(), model.carried(4)
    for kind, chunk in ((packed, {}), (carried, {"chunk": CHUNK})):
        logits = [as_array(kind.predict_on_batch({**inputs(segment_ids, ids), **chunk})) for ids in (TOKENS, outside)]
        np.testing.assert_array_equal(logits[1][:, :7], logits[0][:, :7])
        assert np.isfinite(logits[1]).all()


@pytest.mark.parametrize("outside", [-1, 13])
def test_an_id_outside_of_a_later_batch_is_not_hidden(model, outside):
    """Values of tensors are not looked into; what the backend has for such a row is an error, or NaN."""
    ids = TOKENS.copy()
    ids[1, 3] = outside
    ids, embedding = ops.convert_to_tensor(ids), model.token_embedding
    if keras.backend.backend() in ("torch", "numpy"):
        with pytest.raises(IndexError):
            embedding(ids)
        return
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[1,3\] = 13 is not in \[0, 13\)"):
            embedding(ids)
        # XLA has no such error, as GPUs have none.
        embedding = tf.function(embedding, jit_compile=True)
    vectors = as_array(embedding(ids))
    assert np.isnan(vectors[1, 3]).all() and np.isfinite(np.delete(vectors.reshape(40, -1), 13, axis=0)).all()


@pytest.mark.parametrize(
    "text", ["to be", ["to", "be"], [["to"]], b"to be", [b"to"], np.array(["to"]), np.array([b"to"])]
)
def test_text_is_refused_with_what_reads_it(model, text):
    ids = r"text must be given as token ids, as \[tokenizer\.encode\(text\)\]; model\.generate takes text itself\. Got"
    rows = r"text must .*: model\.packed\(\)\.{}\(PackedDocuments\(\[tokenizer.encode\(text\) .*\)\), of keras.*\. Got"
    for name, call in (
        ("Griffin", model),
        ("advance", lambda ids: model.advance(ids, model.initial_state(1))),
        ("predict", model.predict),
    ):
        with pytest.raises(ValueError, match=f"^{name}: {ids}"):
            call(text)
    for each in (model, model.packed(), model.packed(logits=False)):
        for method in ("evaluate",) if keras.backend.backend() == "numpy" else ("fit", "evaluate"):
            with pytest.raises(ValueError, match=f"^{method}: {rows.format(method)}"):
                getattr(each, method)(text)


@pytest.mark.any_backend
def test_one_text_in_place_of_rows_is_told_by_its_shape(model):
    with pytest.raises(ValueError, match=r"^Griffin: token ids must have shape \(B, T\)\. Got \(3,\)\.$"):
        model([1, 2, 3])
    with pytest.raises(
        ValueError, match=r"must be integers; put keras\.Input\(\(None,\), dtype=\"int32\"\) before it\. G"
    ):
        keras.Sequential([model])(TOKENS)
