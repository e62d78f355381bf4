import random

import pytest
import sentencepiece

from keras_griffin.tokenizers import SentencePieceTokenizer

pytestmark = pytest.mark.any_backend

TALK = "<start_of_turn>user\nhello<end_of_turn>\n"


def test_the_special_ids_are_gemmas(gemma_proto):
    tokenizer = SentencePieceTokenizer(gemma_proto)
    end_of_turn = sentencepiece.SentencePieceProcessor(model_proto=gemma_proto).piece_to_id("<end_of_turn>")
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.stop_ids) == (0, 2, (1, end_of_turn))


def test_a_model_may_lack_special_pieces(bare_proto):
    tokenizer = SentencePieceTokenizer(bare_proto)
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.stop_ids) == (0, None, ())
    assert tokenizer.encode("") == []
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


@pytest.mark.parametrize("text", ["", "hello", "the  cat\n", "本😀"])
def test_a_text_has_the_ids_of_the_processor_after_the_start(gemma_proto, prefix_proto, text):
    for proto in (gemma_proto, prefix_proto):
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
        assert SentencePieceTokenizer(proto).encode(text) == [2, *processor.encode(text)]


@pytest.mark.parametrize("kind", ["gemma_proto", "prefix_proto"])
def test_marks_of_turns_become_their_ids(request, kind):
    """As user-defined pieces and as control pieces."""
    proto = request.getfixturevalue(kind)
    tokenizer = SentencePieceTokenizer(proto)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    assert processor.is_control(processor.piece_to_id("<end_of_turn>")) == (kind == "prefix_proto")
    pieces = [processor.id_to_piece(token_id) for token_id in tokenizer.encode(TALK)]
    assert pieces[:2] == ["<bos>", "<start_of_turn>"] and pieces.count("<end_of_turn>") == 1
    assert tokenizer.decode(tokenizer.encode(TALK)).split() == ["user", "hello"]


@pytest.mark.parametrize("seed", range(20))
def test_any_ids_are_decoded_as_the_processor_decodes_them(gemma_proto, seed):
    """But broken characters: the processor writes U+FFFD for each byte, and a control piece ends a character there."""
    chance = random.Random(seed)
    processor = sentencepiece.SentencePieceProcessor(model_proto=gemma_proto)
    tokenizer = SentencePieceTokenizer(gemma_proto)
    whole = [token_id for token_id in range(processor.get_piece_size()) if not processor.is_byte(token_id)]
    euro = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in "€".encode()]
    ids = [token_id for _ in range(30) for token_id in chance.choice([[chance.choice(whole)], euro])]
    expected = processor.decode(ids).replace("<start_of_turn>", "").replace("<end_of_turn>", "")
    assert tokenizer.decode(ids) == expected


def test_broken_bytes_become_one_sign_for_each_part_of_a_character(gemma_proto):
    processor = sentencepiece.SentencePieceProcessor(model_proto=gemma_proto)
    ids = [processor.piece_to_id(name) for name in ("<0xE2>", "<0x82>", "<0xFF>")]
    assert processor.decode(ids) == "\ufffd" * 3
    assert SentencePieceTokenizer(gemma_proto).decode(ids) == "\ufffd" * 2


@pytest.mark.parametrize("data", [b"", b"none", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(
        ValueError, match=f"proto must be a SentencePiece model. Got {len(data)} bytes, which is not one."
    ):
        SentencePieceTokenizer(data)


def test_pieces_that_are_no_characters_are_refused(gemma_proto):
    piece = "▁the".encode()
    assert piece in gemma_proto
    with pytest.raises(
        ValueError, match=r"^SentencePieceTokenizer: proto must be a SentencePiece model\. Got \d+ bytes"
    ):
        SentencePieceTokenizer(gemma_proto.replace(piece, b"\xff" + piece[1:]))
