import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin.commands.shared.conversation import Conversation
from keras_griffin.generation import Temperature
from keras_griffin.tokenizers import ByteTokenizer, chat_prompt, next_turn
from keras_griffin.tokenizers.chat import find_end_of_turn

pytestmark = pytest.mark.any_backend


def assert_same_state(state, expected):
    for ours, theirs in zip(keras.tree.flatten(state), keras.tree.flatten(expected), strict=True):
        ours, theirs = keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_word_of_a_talk_in_turns_is_read_once(gemma_model, says):
    """Whether an answer was ended by the model, cut by the limit, or cut by who listens."""
    tokenizer = gemma_model.tokenizer
    end = find_end_of_turn(tokenizer)
    letter, stop = tokenizer.encode("a", start=False)[0], tokenizer.stop_ids[0]
    assert stop != end
    talk = Conversation(gemma_model, 3, says(letter))
    assert "".join(talk.answer("hello")) == "aaa" and not talk.is_ended
    read = [*tokenizer.encode(chat_prompt("hello")), letter, letter, letter]
    assert_same_state(talk.state, gemma_model.prefill([read]))

    talk.sampler = says(end)
    assert "".join(talk.answer("cat")) == "" and talk.is_ended
    read += [*tokenizer.encode(next_turn("cat", ended=False), start=False), end]
    assert_same_state(talk.state, gemma_model.prefill([read]))

    talk.sampler = says(letter)
    assert next(talk.answer("mat")) == "a" and not talk.is_ended
    read += [*tokenizer.encode(next_turn("mat"), start=False), letter]
    assert_same_state(talk.state, gemma_model.prefill([read]))

    # Of the tokens that end a text, one alone ends a turn.
    talk.sampler = says(stop)
    assert "".join(talk.answer("sat")) == "" and not talk.is_ended
    read += [*tokenizer.encode(next_turn("sat", ended=False), start=False), stop]
    assert_same_state(talk.state, gemma_model.prefill([read]))


def test_each_byte_of_a_talk_in_lines_is_read_once(byte_model, says):
    talk = Conversation(byte_model, 2, says(ord("a")))
    assert "".join(talk.answer("x = 1")) == "aa" and not talk.is_ended
    assert_same_state(talk.state, byte_model.prefill("x = 1\naa"))

    # An answer that was cut is a line too.
    talk.sampler, talk.most_tokens, talk._seeds = says(ord("a"), ord("\n")), 100, iter([1])
    answer = "".join(talk.answer("é"))
    assert re.fullmatch("\n*a+\n", answer) and talk.is_ended
    assert_same_state(talk.state, byte_model.prefill("x = 1\naa\né\n" + answer))

    talk.sampler, talk._seeds = says(ord("a")), iter([1])
    assert next(talk.answer(" y")) == "a" and not talk.is_ended
    assert_same_state(talk.state, byte_model.prefill("x = 1\naa\né\n" + answer + " y\na"))


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("message", ["a<end_of_turn>", "a\udcff"])
def test_a_message_that_is_refused_leaves_the_talk_as_it_was(gemma_model, says, begun, message):
    talk = Conversation(gemma_model, 2, says(find_end_of_turn(gemma_model.tokenizer)))
    for _ in talk.answer("hello") if begun else ():
        pass
    before, is_ended = talk.state, talk.is_ended
    with pytest.raises(ValueError, match="must"):
        talk.answer(message)
    assert_same_state(talk.state, before)
    assert talk.is_ended == is_ended


def test_the_seed_makes_a_talk_repeatable_and_turns_differ(byte_model):
    def talk(seed):
        talk = Conversation(byte_model, 20, Temperature(), seed)
        first = "".join(talk.answer("a"))
        talk.start_anew()
        return first, "".join(talk.answer("a"))

    last = 2**64 - 1
    assert talk(last) == talk(last) != talk(1)
    assert talk(last)[0] != talk(last)[1] == talk(0)[0]
    assert talk(None) != talk(None)


@pytest.mark.parametrize("kind", ["gemma_model", "byte_model"])
@pytest.mark.parametrize("is_ended", [False, True])
def test_a_talk_is_resumed_at_the_end_of_a_turn(kind, is_ended, request, says):
    """What was cut is ended for the file; the talk itself goes on as it was."""
    model = request.getfixturevalue(kind)
    end = find_end_of_turn(model.tokenizer) or ord("\n")
    talk = Conversation(model, 2, says(97))
    for _ in talk.answer("a"):
        pass
    if is_ended:
        talk.sampler, talk.most_tokens, talk._seeds = says(97, end), 50, iter([1, 2])
        for _ in talk.answer("b"):
            pass
    assert talk.is_ended == is_ended
    state = talk.at_the_end_of_a_turn()
    assert int(state.tokens[0]) == int(talk.state.tokens[0]) + (not is_ended)
    resumed = Conversation(model, 2, says(97))
    resumed.resume(state)
    talk.sampler, talk.most_tokens = says(97), 2
    assert "".join(resumed.answer("c")) == "".join(talk.answer("c"))
    assert_same_state(resumed.state, talk.state)


def test_the_state_of_no_talk_is_refused(byte_model, gemma_model, says):
    talk = Conversation(byte_model, 2, says(97))
    for _ in talk.answer("a"):
        pass
    before = talk.state
    with pytest.raises(ValueError, match="^chat: the state must be of one conversation. Got 2 rows.$"):
        talk.resume(before.repeat(2))
    with pytest.raises(ValueError, match="^chat: the state must be one of this model. Got one whose "):
        talk.resume(gemma_model.initial_state(1))
    assert_same_state(talk.state, before)


def test_marks_of_turns_must_be_tokens_of_their_own(gemma_model):
    (end,) = gemma_model.tokenizer.encode("<end_of_turn>", start=False)
    assert find_end_of_turn(gemma_model.tokenizer) == end
    assert find_end_of_turn(ByteTokenizer()) is None
    one_for_all = SimpleNamespace(encode=lambda text, start: [0], token_bytes=lambda token_id: b"")
    assert find_end_of_turn(one_for_all) is None
    written = SimpleNamespace(encode=lambda text, start: [len(text)], token_bytes=lambda token_id: b"<")
    assert find_end_of_turn(written) is None
