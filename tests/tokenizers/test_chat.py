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


def test_a_message_alone_is_the_users_and_white_space_around_it_is_left_out():
    assert chat_prompt("knock knock") == chat_prompt("\n knock knock  ") == chat_prompt(KNOCK[:1])


@pytest.mark.parametrize("ended", [True, False])
def test_a_talk_that_goes_on_is_the_whole_talk(gemma_proto, ended):
    """In letters and in ids."""
    answer = "who is there" + ("<end_of_turn>" if ended else "")
    assert chat_prompt(KNOCK[:1]) + answer + next_turn("Gemma", ended=ended) == chat_prompt(KNOCK)
    tokenizer = SentencePieceTokenizer(gemma_proto)
    ids = tokenizer.encode(chat_prompt(KNOCK[:1])) + tokenizer.encode(answer, start=False)
    assert ids + tokenizer.encode(next_turn("Gemma", ended=ended), start=False) == tokenizer.encode(chat_prompt(KNOCK))


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


PROMPT_ROLES = "the roles must alternate between 'user' and 'model', and begin and end with 'user'"
TRAIN_ROLES = "the roles must alternate between 'user' and 'model', beginning with 'user' and ending with 'model'"
MARK = "a message must not contain {0}. Got '{0}' from {1!r}."
ONE_LINE = "a message must be one line if the tokenizer has no turn markers"


@pytest.mark.parametrize(
    ("function", "turns", "sentence"),
    [
        ("chat_prompt", [], f"{PROMPT_ROLES}. Got none."),
        ("chat_prompt", [("model", "a")], f"{PROMPT_ROLES}. Got 'model'."),
        ("chat_prompt", KNOCK[:2], f"{PROMPT_ROLES}. Got 'user', 'model'."),
        ("chat_prompt", [("system", "a")], f"{PROMPT_ROLES}. Got 'system'."),
        ("chat_prompt", [("user", "a")] * 3, f"{PROMPT_ROLES}. Got 'user', 'user', 'user'."),
        ("chat_prompt", "<start_of_turn>", MARK.format("<start_of_turn>", "user")),
        ("next_turn", "<end_of_turn>", MARK.format("<end_of_turn>", "user")),
        ("chat_tokens", [], f"{TRAIN_ROLES}. Got none."),
        ("chat_tokens", KNOCK, f"{TRAIN_ROLES}. Got 'user', 'model', 'user'."),
        ("chat_tokens", [("model", "a"), ("user", "b")], f"{TRAIN_ROLES}. Got 'model', 'user'."),
        ("chat_tokens", [("user", " \n"), ("model", "b")], "a message must not be empty. Got ' \\n' from 'user'."),
        ("chat_tokens", [("user", "a"), ("model", "<end_of_turn>")], MARK.format("<end_of_turn>", "model")),
        ("chat_tokens", [("user", "a\nb"), ("model", "c")], rf"{ONE_LINE}. Got 'a\nb' from 'user'."),
    ],
)
def test_what_is_refused(function, turns, sentence):
    functions = {"chat_prompt": chat_prompt, "next_turn": next_turn}
    functions["chat_tokens"] = lambda turns: chat_tokens(ByteTokenizer(), turns)
    with pytest.raises(ValueError) as error:
        functions[function](turns)
    assert str(error.value) == f"{function}: {sentence}"
