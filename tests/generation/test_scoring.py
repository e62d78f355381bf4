import math

import numpy as np
import pytest
from keras import ops

from keras_griffin.generation import bits_per_byte, perplexity, score
from keras_griffin.generation.prompt import CHUNK
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer
from keras_griffin.testing.arrays import as_array
from keras_griffin.tokenizers import ByteTokenizer, train_bpe

TOKENS = np.random.default_rng(0).integers(0, 11, (3, 13)).astype("int32")


def by_definition(model, row):
    """log p of each token of one row, from the logits of one pass, in float64.

    What comes after the row changes nothing, and lets passes of few lengths serve all.
    """
    followed = np.pad(row, (0, -len(row) % 16))
    logits = as_array(model(followed[None]))[0, : len(row)].astype("float64")
    logarithms = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.concatenate([[0.0], logarithms[np.arange(len(row) - 1), row[1:]]])


@pytest.mark.parametrize("token_ids", [TOKENS, ops.convert_to_tensor(TOKENS), TOKENS.astype("int64")])
def test_each_token_gets_its_log_probability(griffin, token_ids):
    scores = score(griffin, token_ids)
    assert scores.shape == TOKENS.shape and scores.dtype == "float32"
    for row, tokens in zip(scores, TOKENS, strict=True):
        np.testing.assert_allclose(row, by_definition(griffin, tokens), atol=1e-5)
    np.testing.assert_array_equal(griffin.score(TOKENS), scores)


def test_rows_of_any_lengths(griffin):
    rows = [TOKENS[0], TOKENS[1, :1], TOKENS[2, :4], []]
    for row, tokens in zip(score(griffin, [list(row) for row in rows]), rows, strict=True):
        assert row.shape == (len(tokens),)
        np.testing.assert_allclose(row, by_definition(griffin, tokens) if len(tokens) else [], atol=1e-5)


def test_documents_and_padding(griffin):
    """Wherever padding stands, each document is scored as it is alone."""
    segment_ids = np.array([[0, 1, 1, 0, 1, 2, 2, 2, 0, 5, 0, 0, 5], [7] * 13, [0] * 13])
    scores = score(griffin, TOKENS, segment_ids)
    assert np.all(scores[segment_ids == 0] == 0)
    for row in range(2):
        for document in set(segment_ids[row]) - {0}:
            own = segment_ids[row] == document
            np.testing.assert_allclose(scores[row, own], by_definition(griffin, TOKENS[row, own]), atol=1e-5)
    padded = np.where(segment_ids > 0, TOKENS, 3)
    np.testing.assert_array_equal(score(griffin, padded, segment_ids), scores)


@pytest.mark.parametrize("family", [Griffin, MQATransformer])
def test_pieces_make_no_difference(family, monkeypatch):
    pattern = ("recurrent", "local_mqa")
    model = family(
        GriffinConfig(vocabulary_size=11, width=16, num_layers=2, num_heads=2, window=4, block_pattern=pattern)
    )
    tokens = np.random.default_rng(1).integers(0, 11, (2, CHUNK + 9))
    expected = np.stack([by_definition(model, row) for row in tokens])
    np.testing.assert_allclose(score(model, tokens), expected, atol=2e-5)
    # Room for the logits of eight steps of two rows.
    monkeypatch.setattr("keras_griffin.generation.scoring.MOST_LOGITS", 8 * 2 * 11)
    np.testing.assert_allclose(score(model, tokens[:, :43]), expected[:, :43], atol=2e-5)


def test_perplexity(griffin):
    logarithms = np.stack([by_definition(griffin, row) for row in TOKENS])
    expected = math.exp(-logarithms.sum() / (3 * 12))
    assert math.isclose(perplexity(griffin, TOKENS), expected, rel_tol=1e-5)
    assert math.isclose(perplexity(griffin, TOKENS.tolist()), expected, rel_tol=1e-5)
    segment_ids = np.array([[1] * 5 + [0] * 3 + [2] * 5, [0] * 12 + [1], [1] * 2 + [0] * 11])
    parts = [by_definition(griffin, part) for part in (TOKENS[0, :5], TOKENS[0, 8:], TOKENS[2, :2])]
    expected = math.exp(-sum(part.sum() for part in parts) / (4 + 4 + 0 + 1))
    assert math.isclose(perplexity(griffin, TOKENS, segment_ids), expected, rel_tol=1e-5)
    with pytest.raises(ValueError, match="^perplexity: at least one document must have two tokens. Got none.$"):
        perplexity(griffin, [[1], [2]])


@pytest.fixture(scope="module")
def reader():
    model = Griffin(GriffinConfig(vocabulary_size=256, width=16, num_layers=2, num_heads=2))
    model.tokenizer = ByteTokenizer()
    return model


@pytest.mark.any_backend
def test_bits_per_byte(reader):
    texts = ["né", "a longer text", ""]
    rows = [[10, *text.encode()] for text in texts]
    bits = -sum(by_definition(reader, np.array(row)).sum() for row in rows) / math.log(2)
    assert math.isclose(bits_per_byte(reader, texts), bits / (3 + 13), rel_tol=1e-5)
    np.testing.assert_allclose(reader.score("né"), by_definition(reader, np.array(rows[0][1:])), atol=1e-5)


@pytest.mark.any_backend
def test_bits_per_byte_without_a_start_token(griffin):
    """As `train` counts them: the first token of a text is not predicted, so its bytes do not count."""
    texts = ["the cat sat", "the", "on the mat"]
    tokenizer = train_bpe(texts, 262)
    model = Griffin(griffin.config.replace(vocabulary_size=262), tokenizer=tokenizer)
    rows = [tokenizer.encode(text) for text in texts]
    assert tokenizer.start_id is None and len(rows[1]) == 1
    bits = -sum(by_definition(model, np.array(row)).sum() for row in rows) / math.log(2)
    written = sum(len(tokenizer.token_bytes(token_id)) for row in rows for token_id in row[1:])
    assert math.isclose(bits_per_byte(model, texts), bits / written, rel_tol=1e-5)
    with pytest.raises(ValueError, match="^bits_per_byte: without a start token, a text must have two tokens") as error:
        bits_per_byte(model, ["the", ""])
    assert str(error.value).endswith("Got texts of 1, 0 tokens.")


def test_messages(griffin, reader):
    with pytest.raises(ValueError, match=r"^score: the prompt must have at least one row\. Got none\.$"):
        score(griffin, [])
    with pytest.raises(ValueError, match=r"^score: segment_ids must be integers .* Got int64 \(3, 12\)\.$"):
        score(griffin, TOKENS, np.ones((3, 12), "int64"))
    with pytest.raises(ValueError, match=r"^score: segment_ids must be integers of at least 0"):
        score(griffin, TOKENS, -np.ones((3, 13), "int64"))
    with pytest.raises(ValueError, match=r"^bits_per_byte: the model must have a tokenizer\. Got None\.$"):
        bits_per_byte(griffin, "a")
    with pytest.raises(ValueError, match=r"^bits_per_byte: texts must be a text or a list of texts.* Got \[''\]\.$"):
        bits_per_byte(reader, [""])
