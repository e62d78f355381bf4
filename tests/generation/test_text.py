"""Text in, text out; streams, and the state that they leave."""

import keras
import numpy as np
import pytest

from keras_griffin.generation import TopP, generate, prefill, stream
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.tokenizers import ByteTokenizer


@pytest.fixture(scope="module")
def reader(varied):
    """A model that writes any bytes, few of them UTF-8."""
    model = varied(vocabulary_size=256)
    model.tokenizer = ByteTokenizer()
    return model


@pytest.mark.any_backend
def test_a_text_gives_a_text_and_texts_a_list(reader, tmp_path):
    texts = ["né", "", "a longer text"]
    rows = [list("né".encode()), [10], list(b"a longer text")]
    made = generate(reader, rows, 9)
    expected = [
        text + bytes(new[len(row) :].tolist()).decode(errors="replace")
        for text, row, new in zip(texts, rows, made, strict=True)
    ]
    assert generate(reader, texts, 9) == reader.generate(texts, 9) == expected
    assert [generate(reader, text, 9) for text in texts] == expected
    # Its tokenizer is in a .keras file.
    reader.save(tmp_path / "reader.keras")
    assert keras.saving.load_model(tmp_path / "reader.keras").generate("né", 9) == expected[0]


class Script:
    """A tokenizer of words, one of which writes two thirds of a character, with a stop token."""

    vocabulary_size, start_id, stop_ids, pad_id = 11, 1, (7,), 0
    written = {2: b"a", 3: b" b", 4: "€".encode()[:2], 5: "€".encode()[2:], 6: b"\xff"}

    def encode(self, text, *, start=True):
        return [self.start_id] * start + [{"a": 2, "b": 3}[word] for word in text.split()]

    def token_bytes(self, token_id, is_first=False):
        written = self.written.get(token_id, b"")
        return written.lstrip() if is_first else written

    def decode(self, token_ids):
        return b"".join(self.token_bytes(token, index == 0) for index, token in enumerate(token_ids)).decode()


def scripted(script, said):
    model = script([said])
    model.tokenizer = Script()
    return model


def test_pieces_of_text_are_whole_characters_and_end_at_a_stop_token(script):
    said = [9, 3, 4, 5, 6, 7, 3, 3]
    pieces = list(stream(scripted(script, said), "a", 20))
    assert pieces == [" b", "€", "\ufffd"]
    assert generate(scripted(script, said), "a", 20) == "a b€\ufffd"
    # A character that was begun comes out as what it is at the end.
    assert list(stream(scripted(script, said), "a", 2)) == [" b", "\ufffd"]
    assert list(stream(scripted(script, said), ["a"], 2)) == [[" b"], [""], ["\ufffd"]]


def test_a_stream_that_is_left_early_has_a_state_from_which_to_go_on(model, rows=((3, 1, 4), (9,))):
    rows = [list(row) for row in rows]
    sampler = TopP(0.9)
    whole = generate(model, rows, 8, sampler=sampler, seed=3)
    tokens = stream(model, rows, 8, sampler=sampler, seed=3)
    given = [next(tokens) for _ in range(3)]
    state = tokens.state
    rest = list(tokens)
    for index, row in enumerate(rows):
        assert [*row, *(int(step[index]) for step in [*given, *rest])] == whole[index].tolist()
    after = prefill(model, [np.concatenate([row, new]) for row, new in zip(rows, np.stack(given, 1), strict=True)])
    for ours, theirs in zip(keras.tree.flatten(state), keras.tree.flatten(after), strict=True):
        assert_close(ours, as_array(theirs), "float32")


@pytest.mark.parametrize("length", [511, 512, 513, 1100])
def test_a_long_prompt_is_read_in_pieces(griffin, length):
    tokens = np.random.default_rng(0).integers(0, 11, (2, length)).astype("int32")
    state = griffin.prefill([tokens[0], tokens[1, :700]])
    _, expected = compiled(griffin.advance)(tokens[:1], griffin.initial_state(1))
    for ours, theirs in zip(keras.tree.flatten(state.select([0])), keras.tree.flatten(expected), strict=True):
        assert_close(ours, as_array(theirs), "float32")
    np.testing.assert_array_equal(as_array(state.tokens), [length, min(length, 700)])


def test_a_tokenizer_must_fit_the_model(griffin):
    with pytest.raises(ValueError) as error:
        griffin.tokenizer = ByteTokenizer()
    assert str(error.value) == (
        "Griffin: the tokenizer's ids must be in the model's vocabulary. Got 256 ids and a vocabulary of 11."
    )
