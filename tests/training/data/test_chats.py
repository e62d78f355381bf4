import json

import numpy as np
import pytest

from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import PackedDocuments, read_chats
from keras_griffin.training.data.chats import Chats

pytestmark = pytest.mark.any_backend

TALKS = [["2+2?", "4"], ["hi", "ho", "why", "so"], ["long " * 10, "short"]]


def line(messages, **roles):
    names = [roles.get("user", "user"), roles.get("model", "assistant")]
    return json.dumps({"messages": [{"role": names[i % 2], "content": text} for i, text in enumerate(messages)]})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chats.jsonl"


def test_answers_alone_have_weight(path):
    path.write_text("\n".join([line(TALKS[0]), "  ", line(TALKS[1], model="model"), ""]))
    chats = read_chats(path, ByteTokenizer())
    assert isinstance(chats, Chats) and [each.dtype for each in chats.documents + chats.weights] == 2 * [
        "int32"
    ] + 2 * ["float32"]
    assert [bytes(each.tolist()) for each in chats.documents] == [b"2+2?\n4\n", b"hi\nho\nwhy\nso\n"]
    answers = [bytes(d[w == 1].tolist()) for d, w in zip(*chats, strict=True)]
    assert answers == [b"4\n", b"ho\nso\n"]


def test_packed_rows_keep_the_weights(path):
    path.write_text("\n".join(map(line, TALKS)))
    chats = read_chats(path, ByteTokenizer())
    # The last is cut into rows of 16.
    data = PackedDocuments(chats.documents, 16, 5, shuffle=False, weights=chats.weights)
    x, targets, weights = data[0]
    learned = targets[weights > 0]
    assert sorted(bytes(learned.tolist())) == sorted(b"4\nho\nso\nshort\n")
    assert data.counts.predictions == len(learned) == weights.sum()
    # A position's weight is that of the token after it.
    document, weight = chats.documents[0], chats.weights[0]
    rows, starts = np.nonzero(x["token_ids"] == document[0])
    row, start = int(rows[0]), int(starts[0])
    np.testing.assert_array_equal(x["token_ids"][row, start : start + len(document)], document)
    np.testing.assert_array_equal(weights[row, start : start + len(document)], [*weight[1:], 0])
    dropped = PackedDocuments(chats.documents, 16, 5, long_documents="drop", weights=chats.weights)
    assert dropped.counts.predictions == len(b"4\nho\nso\n")


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"{", r"each line must be JSON, in UTF-8\. Got line 2 of '.*chats\.jsonl': .*\.$"),
        (b'{"messages": "\xff"}', r"each line must be JSON, in UTF-8\. Got line 2 of '.*': .*\.$"),
        (b"[" * 100_000, r"each line must be JSON, in UTF-8\. Got line 2 of '.*': .*\.$"),
        (b"[]", r'each line must be {"messages": \[\.\.\.\]}\. Got line 2 of \'.*\' without a list of messages\.$'),
        (b'{"messages": []}', r'each line must be {"messages": \[\.\.\.\]}\. Got line 2 of .* without a list of'),
        (
            b'{"messages": [3]}',
            r"a role must be one of user, assistant, model\. Got None, message 1 in line 2 of '.*'\.$",
        ),
        (
            b'{"messages": [{"role": "system", "content": "a"}]}',
            r"a role must be one of user, assistant, model\. Got 'system', message 1 in line 2 of '.*'\.$",
        ),
        (
            b'{"messages": [{"role": "user", "content": 3}]}',
            r"content must be a text\. Got 3, message 1 in line 2 of '.*'\.$",
        ),
        (
            line(["a"]).encode(),
            r"each line must be a conversation .* Got line 2 of '.*': chat_tokens: the roles must .* 'user'\.$",
        ),
        (
            line(["a", " "]).encode(),
            r"each line must be a conversation .* line 2 of '.*': chat_tokens: a message must not be empty",
        ),
        (
            line(["a", "b\nc"]).encode(),
            r"each line must be a conversation .* chat_tokens: a message must be one line if",
        ),
        (
            line(["<end_of_turn>", "b"]).encode(),
            r"each line must be .* a message must not contain <end_of_turn>\. Got ",
        ),
    ],
)
def test_a_line_that_is_no_conversation_is_named(path, bad, sentence):
    path.write_bytes(line(["a", "b"]).encode() + b"\n" + bad + b"\n")
    with pytest.raises(ValueError, match=rf"^read_chats: {sentence}"):
        read_chats(path, ByteTokenizer())


def test_a_file_without_any(path):
    path.write_text("\n\n")
    with pytest.raises(
        ValueError, match=r"^read_chats: the file must have at least one conversation\. Got '.*' with none\.$"
    ):
        read_chats(path, ByteTokenizer())
