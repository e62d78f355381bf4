from argparse import Namespace

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers

from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.runs import as_notes
from keras_griffin.commands.shared.text import (
    TokenText,
    has_tokenizer,
    keep_tokenizer,
    own_prompt,
    read_text,
)
from keras_griffin.tasks.text import Corpus
from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, load_tokenizer, train_bpe
from keras_griffin.training import HeldOutWindows

pytestmark = pytest.mark.any_backend


def options(*files, **others):
    defaults = {"seed": 0, "sequence_length": 4, "batch_size": 2, "include_binary": False, "output": None}
    return Namespace(
        files=[str(file) for file in files], **{**defaults, "vocabulary": None, "tokenizer": None, **others}
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A text whose last tenth has words of its own, and begins within a character."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text("one two 😀\n" * 81 + "😀 zebra zebra\n" * 6 + "😀 zebra\n")
    return path


def test_without_a_tokenizer_tokens_are_bytes(file):
    text = read_text(options(file), None)
    assert text.is_bytes and text.tokenizer == ByteTokenizer()
    assert text.train is text.corpus.train and text.validation is text.corpus.validation
    held_out = text.held_out(options())
    assert text.predicted_bytes(held_out) == held_out.num_predictions == len(text.validation) - 1


def test_a_tokenizer_is_learnt_from_the_training_text_alone(file):
    text = read_text(options(file, vocabulary=300), None)
    assert not text.is_bytes
    written = [text.tokenizer.token_bytes(token_id) for token_id in range(text.tokenizer.vocabulary_size)]
    assert b" two" in written and not any(b"ze" in token for token in written)
    for ids, data in ((text.train, text.corpus.train), (text.validation, text.corpus.validation)):
        assert ids.dtype == "uint16"
        assert b"".join(written[token_id] for token_id in ids) == data.tobytes()
    assert text.corpus.train.tobytes() + text.corpus.validation.tobytes() == file.read_bytes()
    first = len(written[text.validation[0]])
    assert text.predicted_bytes(text.held_out(options())) == len(text.corpus.validation) - first
    few = text.held_out(options(), 2)
    assert text.predicted_bytes(few) == sum(
        len(written[token_id]) for _, targets, weights in few for token_id in targets[weights > 0]
    )
    assert isinstance(few, HeldOutWindows)


def test_a_tokenizer_that_is_there_is_used_and_kept(file, tmp_path):
    tokenizer = train_bpe(["one two zebra"] * 2, 270)
    tokenizer.save(tmp_path / "given")
    text = read_text(options(file, tokenizer=str(tmp_path / "given")), None)
    assert text.tokenizer == tokenizer
    (tmp_path / "run" / "tokenizer").mkdir(parents=True)
    (tmp_path / "run" / "tokenizer" / "tokenizer.model").write_text("of an earlier run")
    keep_tokenizer(text, tmp_path / "run")
    assert load_tokenizer(tmp_path / "run" / "tokenizer") == tokenizer
    assert not (tmp_path / "run" / "tokenizer" / "tokenizer.model").exists()


def test_bytes_may_be_asked_for_by_their_tokenizer(tmp_path):
    ByteTokenizer().save(tmp_path)
    (tmp_path / "text").write_bytes(b"\xff" * 100)
    arguments = options(tmp_path / "text", tokenizer=str(tmp_path))
    assert has_tokenizer(arguments) and not has_tokenizer(options())
    assert read_text(arguments, None).is_bytes


def refusal(*arguments):
    with pytest.raises(CommandError) as error:
        read_text(*arguments)
    return str(error.value)


def test_what_is_not_utf_8_is_refused_by_its_name(file, tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9 " * 20)
    sentence = refusal(options(tmp_path / "latin", vocabulary=300), None)
    assert sentence == (
        "load_corpus: a text must be UTF-8 unless the tokens are bytes. "
        f"Got {tmp_path / 'latin'}, with an invalid byte at 3."
    )


def test_too_few_tokens_are_refused(file):
    sentence = refusal(options(file, vocabulary=300, sequence_length=110), None)
    assert sentence.startswith("train: the training and the held-out text must have at least 111 tokens each. Got ")


def test_a_tokenizer_that_loses_text_is_refused(file, tmp_path):
    """Bits per byte would be of other bytes than those of the text."""
    lower = Tokenizer.from_str(train_bpe(["one two"], 270).get_config()["json"])
    lower.normalizer = normalizers.Replace("zebra", "horse")
    HuggingFaceTokenizer(lower).save(tmp_path)
    assert refusal(options(file, tokenizer=str(tmp_path)), None) == (
        "train: a tokenizer must reproduce the held-out text exactly. Got HuggingFaceTokenizer(257 tokens), "
        "which writes b'horse horse\\n\\xf0\\x9f\\x98\\x80 hor' for b'zebra zebra\\n\\xf0\\x9f\\x98\\x80 zeb'."
    )


def test_a_run_goes_on_with_its_own_tokenizer_or_not_at_all(file, tmp_path):
    arguments = options(file, vocabulary=300, output=str(tmp_path))
    text = read_text(arguments, None)
    run = Namespace(notes=as_notes(Namespace(files=[]), text.corpus, {}))
    assert refusal(arguments, run).startswith("train: the tokenizer of a run must be a folder with one of ")
    other = train_bpe(["one two"], 270)
    other.save(tmp_path / "tokenizer")
    assert read_text(arguments, run).tokenizer == other != text.tokenizer


@pytest.mark.parametrize(
    ("held_out", "prompt"),
    [
        # A line at the margin, in the middle, that is not cut off.
        (
            "import os\n" * 40 + "    x = 1\n\nclass TestOfSomeLongName(support.LongerTestCase):\n" * 3,
            "class TestOfSomeLongName",
        ),
        ("It is a truth universally acknowledged, that a single man in possession\n" * 9, "It is a truth"),
        ("a\n" * 9, "a"),
        ("    return x\n" * 9, "retu"),
        ("日本語の文章です。" * 9, "日本語の文章です。日本語の文章です。"),
        ("\n" * 90, ""),
    ],
)
def test_a_run_has_a_prompt_of_its_own_text(held_out, prompt):
    data = np.frombuffer(held_out.encode(), "uint8")
    corpus = Corpus("", data, data, ("a",), ("a",))
    assert own_prompt(TokenText(corpus, ByteTokenizer(), data, data, np.ones(256))) == prompt
