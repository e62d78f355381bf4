import pytest

from keras_griffin.tokenizers import SentencePieceTokenizer, chat_prompt, next_turn

pytestmark = pytest.mark.any_backend

KNOCK = [("user", "knock knock"), ("model", "who is there"), ("user", "Gemma")]


def test_a_talk_is_written_as_in_gemmas_documentation():
    assert chat_prompt(KNOCK) == (
        "<start_of_turn>user\nknock knock<end_of_turn>\n"
        "<start_of_turn>model\nwho is there<end_of_turn>\n"
        "<start_of_turn>user\nGemma<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_a_message_alone_is_the_users():
    assert chat_prompt("knock knock") == chat_prompt(KNOCK[:1])


def test_white_space_around_a_message_is_left_out():
    assert (
        chat_prompt("\n knock\n\nknock  ") == "<start_of_turn>user\nknock\n\nknock<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize("ended", [True, False])
def test_a_talk_that_goes_on_is_the_whole_talk(gemma_proto, ended):
    """In letters and in ids."""
    answer = "who is there" + ("<end_of_turn>" if ended else "")
    assert chat_prompt(KNOCK[:1]) + answer + next_turn("Gemma", ended=ended) == chat_prompt(KNOCK)
    tokenizer = SentencePieceTokenizer(gemma_proto)
    ids = tokenizer.encode(chat_prompt(KNOCK[:1])) + tokenizer.encode(answer, start=False)
    assert ids + tokenizer.encode(next_turn("Gemma", ended=ended), start=False) == tokenizer.encode(chat_prompt(KNOCK))


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [("model", "hello")],
        [("user", "hello"), ("model", "hello")],
        [("user", "hello"), ("user", "hello"), ("user", "hello")],
        [("system", "be kind")],
        [("system", "be kind"), ("user", "hello"), ("model", "hello")],
    ],
)
def test_other_roles_are_refused(turns):
    got = ", ".join(repr(role) for role, _ in turns) or "none"
    with pytest.raises(ValueError, match=f"chat_prompt: the roles must be 'user' and 'model' by turns, .* Got {got}."):
        chat_prompt(turns)


@pytest.mark.parametrize("mark", ["<start_of_turn>", "<end_of_turn>"])
def test_a_message_with_a_mark_is_refused(mark):
    match = f"a message must not hold {mark}. Got 'a{mark}b' from"
    with pytest.raises(ValueError, match=f"chat_prompt: {match} 'user'."):
        chat_prompt(f"a{mark}b")
    with pytest.raises(ValueError, match=f"chat_prompt: {match} 'model'."):
        chat_prompt([("user", "hello"), ("model", f"a{mark}b"), ("user", "hello")])
    with pytest.raises(ValueError, match=f"next_turn: {match} 'user'."):
        next_turn(f"a{mark}b")
