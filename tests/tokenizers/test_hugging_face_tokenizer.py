import random
import types

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from keras_griffin.tokenizers import HuggingFaceTokenizer

pytestmark = pytest.mark.any_backend


def tokenizer_of(json):
    return HuggingFaceTokenizer(Tokenizer.from_str(json))


def test_the_special_ids_are_found_by_name(gemma_json, byte_level_json):
    gemma = tokenizer_of(gemma_json)
    assert (gemma.start_id, gemma.stop_ids, gemma.pad_id) == (2, (1, 5), 0)
    gpt = tokenizer_of(byte_level_json)
    assert (gpt.start_id, gpt.stop_ids, gpt.pad_id) == (None, (0,), 0)


def test_the_special_ids_can_be_given_and_are_kept(gemma_json, tmp_path):
    tokenizer = HuggingFaceTokenizer(Tokenizer.from_str(gemma_json), start_id=None, stop_ids=(4, 1), pad_id=3)
    assert tokenizer != tokenizer_of(gemma_json)
    tokenizer.save(tmp_path)
    for same in (
        HuggingFaceTokenizer.load(tmp_path),
        HuggingFaceTokenizer.from_config(tokenizer.get_config()),
    ):
        assert same == tokenizer and (same.start_id, same.stop_ids, same.pad_id) == (None, (4, 1), 3)
    assert tokenizer.encode("the") == tokenizer_of(gemma_json).encode("the", start=False)


@pytest.mark.parametrize("kind", ["gemma_json", "llama_json", "byte_level_json"])
@pytest.mark.parametrize("text", ["the cat", " the  cat ", "  the", "本 で😀", ""])
def test_ids_and_text_are_those_of_the_package(request, kind, text):
    theirs = Tokenizer.from_str(request.getfixturevalue(kind))
    ours = HuggingFaceTokenizer(theirs)
    ids = ours.encode(text, start=False)
    assert ids == theirs.encode(text, add_special_tokens=False).ids
    assert ours.decode(ids) == theirs.decode(ids) == text


def test_any_bytes_at_the_level_of_bytes_are_decoded_as_by_the_package(byte_level_json):
    theirs, chance = Tokenizer.from_str(byte_level_json), random.Random(0)
    for _ in range(20):
        ids = [chance.randrange(theirs.get_vocab_size()) for _ in range(60)]
        assert HuggingFaceTokenizer(theirs).decode(ids) == theirs.decode(ids)


def test_a_broken_byte_leaves_its_neighbours_alone(gemma_json):
    """The package replaces the whole run of bytes, which could not be streamed."""
    theirs = Tokenizer.from_str(gemma_json)
    ids = [theirs.token_to_id(f"<0x{byte:02X}>") for byte in "€".encode() + b"\xff"]
    assert theirs.decode(ids) == "\ufffd" * 4
    assert HuggingFaceTokenizer(theirs).decode(ids) == "€\ufffd"


def test_marks_of_turns_write_nothing_even_where_they_are_not_special(byte_level_json, gemma_json):
    theirs = Tokenizer.from_str(byte_level_json)
    theirs.add_tokens(["<start_of_turn>", "<end_of_turn>"])
    ours = HuggingFaceTokenizer(theirs)
    ids = ours.encode("the<end_of_turn>")
    assert ids[-1] == ours.stop_ids[-1] and ours.decode(ids) == "the"
    # Special tokens in a text become their ids.
    ids = tokenizer_of(gemma_json).encode("<start_of_turn>the<end_of_turn>")
    assert ids[:2] == [2, 4] and ids[-1] == 5


def test_the_start_token_stands_once_where_the_tokenizer_puts_it_too(gemma_json):
    theirs = Tokenizer.from_str(gemma_json)
    theirs.post_processor = processors.TemplateProcessing("<bos> $A <eos>", None, [("<bos>", 2), ("<eos>", 1)])
    assert theirs.encode("the").ids[0] == 2
    assert HuggingFaceTokenizer(theirs).encode("the") == tokenizer_of(gemma_json).encode("the")


def test_a_tokenizer_whose_tokens_change_what_others_write_is_refused():
    letters = {letter: index for index, letter in enumerate("Thecat,i'sdon3m.SoIg!")}
    ending = Tokenizer(models.BPE({**letters, **{f"{key}</w>": 30 + id for key, id in letters.items()}}, []))
    ending.pre_tokenizer, ending.decoder = pre_tokenizers.Whitespace(), decoders.BPEDecoder()
    ending.model.end_of_word_suffix = "</w>"
    with pytest.raises(ValueError, match="HuggingFaceTokenizer: decoding token by token must give the same text"):
        HuggingFaceTokenizer(ending)


def test_a_tokenizer_that_leaves_bytes_out_is_refused():
    """As some do that are written in Python: what is not whole in a token alone would be lost without a word."""
    other = types.SimpleNamespace(
        encode=lambda text, add_special_tokens: list(text.encode()),
        decode=lambda ids, skip_special_tokens: bytes(ids).decode("utf-8", "ignore"),
        get_vocab=lambda: {chr(byte): byte for byte in range(256)},
        token_to_id={chr(byte): byte for byte in range(256)}.get,
        id_to_token=chr,
    )
    with pytest.raises(ValueError, match='Got "The cat, .* É 本 😀", and "The cat, .*" token by token.'):
        HuggingFaceTokenizer(other)


def test_it_is_read_from_its_file(gemma_json, tmp_path):
    (tmp_path / "tokenizer.json").write_text(gemma_json, encoding="utf-8")
    assert HuggingFaceTokenizer(tmp_path / "tokenizer.json") == tokenizer_of(gemma_json)
    assert HuggingFaceTokenizer(str(tmp_path / "tokenizer.json")) == tokenizer_of(gemma_json)
