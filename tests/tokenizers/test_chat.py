import pytest

from keras_griffin.tokenizers import ByteTokenizer, SentencePieceTokenizer, chat_prompt, next_turn
from keras_griffin.tokenizers.chat import chat_tokens, find_end_of_turn

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
    with pytest.raises(
        ValueError, match=f"chat_prompt: the roles must alternate between 'user' and 'model', .* Got {got}."
    ):
        chat_prompt(turns)


@pytest.mark.parametrize("mark", ["<start_of_turn>", "<end_of_turn>"])
def test_a_message_with_a_mark_is_refused(mark):
    match = f"a message must not contain {mark}. Got 'a{mark}b' from"
    with pytest.raises(ValueError, match=f"chat_prompt: {match} 'user'."):
        chat_prompt(f"a{mark}b")
    with pytest.raises(ValueError, match=f"chat_prompt: {match} 'model'."):
        chat_prompt([("user", "hello"), ("model", f"a{mark}b"), ("user", "hello")])
    with pytest.raises(ValueError, match=f"next_turn: {match} 'user'."):
        next_turn(f"a{mark}b")


TALK = [*KNOCK, ("model", "Gemma who")]


def test_tokens_to_train_on_are_those_of_the_talk(gemma_proto):
    tokenizer = SentencePieceTokenizer(gemma_proto)
    token_ids, is_answer = chat_tokens(tokenizer, TALK)
    whole = chat_prompt(KNOCK) + "Gemma who<end_of_turn>"
    assert token_ids == tokenizer.encode(whole)
    answers = [token for token, answered in zip(token_ids, is_answer, strict=True) if answered]
    end = find_end_of_turn(tokenizer)
    assert answers == [
        *tokenizer.encode("who is there", start=False),
        end,
        *tokenizer.encode("Gemma who", start=False),
        end,
    ]


def test_without_marks_a_turn_is_a_line():
    token_ids, is_answer = chat_tokens(ByteTokenizer(), TALK)
    assert bytes(token_ids) == b"knock knock\nwho is there\nGemma\nGemma who\n"
    assert bytes(token for token, answered in zip(token_ids, is_answer, strict=True) if answered) == (
        b"who is there\nGemma who\n"
    )


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        (
            [],
            r"the roles must alternate between 'user' and 'model', beginning with 'user' and ending .*\. Got none\.",
        ),
        (KNOCK, r"the roles must alternate .* Got 'user', 'model', 'user'\."),
        ([("model", "a"), ("user", "b")], r"the roles must alternate .* Got 'model', 'user'\."),
        ([("user", " \n"), ("model", "b")], r"a message must not be empty\. Got ' \\n' from 'user'\."),
        (
            [("user", "a"), ("model", "<start_of_turn>")],
            r"a message must not contain <start_of_turn>\. Got .* from 'model'\.",
        ),
        ([("user", "a\nb"), ("model", "c")], r"a message must be one line if .* Got 'a\\nb' from 'user'\."),
    ],
)
def test_talks_that_can_not_be_trained_on(turns, sentence):
    with pytest.raises(ValueError, match=rf"^chat_tokens: {sentence}$"):
        chat_tokens(ByteTokenizer(), turns)
