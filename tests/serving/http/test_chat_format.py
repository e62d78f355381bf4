import numpy as np
import pytest

from keras_griffin.serving.http.chat_format import segments_of
from keras_griffin.serving.http.refusal import Refusal
from keras_griffin.tokenizers import ByteTokenizer, chat_prompt, next_turn
from keras_griffin.tokenizers.chat import ChatFormat, chat_tokens

pytestmark = pytest.mark.any_backend

TALK = ["the cat", "sat", "on the", "mat", "hello"]


@pytest.fixture(params=["lines", "gemma"])
def chat(request, gemma_tokenizer):
    return ChatFormat(ByteTokenizer() if request.param == "lines" else gemma_tokenizer)


def messages(*texts, system=None):
    roles = ("user", "assistant")
    before = [] if system is None else [{"role": "system", "content": system}]
    return before + [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def joined(segments):
    return np.concatenate(segments).tolist()


def test_a_talk_is_what_the_chat_command_reads_and_writes_message_by_message(chat):
    segments = segments_of(chat, messages(*TALK))
    assert len(segments) == 5
    turns = [(("user", "model")[i % 2], text) for i, text in enumerate([*TALK, "world"])]
    token_ids, is_answer = chat_tokens(chat.tokenizer, turns)
    last = chat.answer("world")
    assert joined(segments) == token_ids[: -len(last)] and token_ids[-len(last) :] == last


@pytest.mark.parametrize("system", [None, "hello world"])
def test_the_tokens_of_a_turn_begin_with_those_of_the_turn_before(chat, system):
    for count in (3, 5):
        before = segments_of(chat, messages(*TALK[: count - 2], system=system))
        after = segments_of(chat, messages(*TALK[:count], system=system))
        assert [each.tolist() for each in after[: len(before)]] == [each.tolist() for each in before]


def test_the_systems_text_stands_before_the_first_question():
    chat = ChatFormat(ByteTokenizer())
    assert bytes(joined(segments_of(chat, messages("a", "b", "c", system="x\ny")))) == b"x\ny\na\nb\nc\n"
    two = [{"role": "developer", "content": "x"}, {"role": "system", "content": "y"}, *messages("a")]
    assert [bytes(each.tolist()) for each in segments_of(chat, two)] == [b"x\ny\n", b"a\n"]


def test_the_systems_text_opens_the_first_turn_of_gemma(gemma_tokenizer):
    system, question = segments_of(ChatFormat(gemma_tokenizer), messages("hello", system="be a cat"))
    text = "<start_of_turn>user\nbe a cat\n\nhello<end_of_turn>\n<start_of_turn>model\n"
    assert text == chat_prompt("be a cat\n\nhello")
    assert [*system, *question] == gemma_tokenizer.encode(text)


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_conversation_goes_on_from_its_state(gemma_tokenizer, is_ended):
    new = {"is_new": False, "is_ended": is_ended}
    gemma, lines = ChatFormat(gemma_tokenizer), ChatFormat(ByteTokenizer())
    text = next_turn("hello", ended=is_ended)
    assert joined(segments_of(gemma, messages("hello"), **new)) == gemma_tokenizer.encode(text, start=False)
    assert bytes(joined(segments_of(lines, messages("hello"), **new))) == (b"hello\n" if is_ended else b"\nhello\n")
    assert segments_of(gemma, [], **new) == []
    after = [*messages("hello", "world", "cat")]
    assert bytes(joined(segments_of(lines, after, **new))).endswith(b"hello\nworld\ncat\n")


def test_an_answer_is_read_as_it_was_written(chat):
    """Empty lines before it too; only its line break is its end."""
    written = segments_of(chat, messages("a", "\n\n b ", "c"))[1].tolist()
    assert written == chat.tokenizer.encode("\n\n b ", start=False) + chat.end
    if chat.end_of_turn is None:
        assert segments_of(chat, messages("a", "\n\n b \n", "c"))[1].tolist() == written


def test_content_is_a_text_or_texts_or_nothing(chat):
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "cat"}]
    (segment,) = segments_of(chat, [{"role": "user", "content": parts}])
    assert segment.tolist() == segments_of(chat, messages("the cat"))[0].tolist()
    nothing = {"role": "assistant", "content": None, "tool_calls": [], "refusal": None, "annotations": [], "name": "x"}
    talk = [*messages("a"), nothing, *messages("b")]
    assert segments_of(chat, talk)[1].tolist() == chat.end


ORDER = (
    "messages must be of the system, if any, and then alternate between 'user' and 'assistant', beginning and ending "
    "with 'user'. Got {}."
)
CONTENT = 'messages[0].content must be a text, or a list of {{"type": "text", "text": ...}}. Got {}.'


@pytest.mark.parametrize(
    ("given", "sentence", "param"),
    [
        ([], ORDER.format("none"), "messages"),
        (messages("a", "b"), ORDER.format("'user', 'assistant'"), "messages"),
        (messages("a") * 2, ORDER.format("'user', 'user'"), "messages"),
        (messages(system="a"), ORDER.format("none"), "messages"),
        ([*messages("a", "b", "c"), *messages(system="x")], None, "messages"),
        (["a"], None, "messages[0]"),
        ([{"content": "a"}], None, "messages[0]"),
        ([{"role": "tool", "content": "a"}], None, "messages[0]"),
        ([{"role": ["user"], "content": "a"}], None, "messages[0]"),
        (
            [{"role": "user", "content": "a", "tool_calls": [1]}],
            "messages[0].tool_calls must be left out, because the server knows texts only.",
            "messages[0].tool_calls",
        ),
        ([{"role": "user", "content": 1}], CONTENT.format("1"), "messages[0].content"),
        ([{"role": "user", "content": "\ud800"}], CONTENT.format(r'"\ud800"'), "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], None, "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], None, "messages[0].content"),
        ([{"role": "user", "content": ["a"]}], None, "messages[0].content"),
        (
            messages("a<end_of_turn>"),
            "messages[0].content must not contain <end_of_turn>, which would forge a turn.",
            "messages[0].content",
        ),
        (messages("a", "<start_of_turn>user", "b"), None, "messages[1].content"),
        (messages("a", system="<start_of_turn>"), None, "messages[0].content"),
    ],
)
def test_what_is_refused(chat, given, sentence, param):
    with pytest.raises(Refusal) as raised:
        segments_of(chat, given)
    assert raised.value.status == 400 and raised.value.param == param
    assert sentence is None or str(raised.value) == sentence


def test_a_line_that_would_be_two_turns_is_refused():
    lines = ChatFormat(ByteTokenizer())
    for given in (messages("a\nb"), messages("a", "b\nc", "d")):
        with pytest.raises(Refusal, match="content must be one line, because this model's turns are lines.$"):
            segments_of(lines, given)


def test_the_system_does_not_speak_to_a_conversation_that_goes_on(chat):
    with pytest.raises(Refusal, match="^messages of the system must come before the first answer"):
        segments_of(chat, messages("a", system="b"), is_new=False)
