"""Tiny models of every kind, made on the spot."""

import io

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, SentencePieceTokenizer, train_bpe

SENTENCES = ["the cat sat on the mat", "hello world, hello all", "ça et là, où ils étaient", "これは本です"] * 5
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
MARKS = ["<start_of_turn>", "<end_of_turn>"]


def sentencepiece_proto(**options):
    """A model with the special pieces of Gemma, which falls back to bytes."""
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=proto,
        **{
            "model_type": "bpe",
            "vocab_size": 400,
            "byte_fallback": True,
            "hard_vocab_limit": False,
            "minloglevel": 2,
            **dict(zip(["pad_id", "eos_id", "bos_id", "unk_id"], range(4), strict=True)),
            **dict(zip(["pad_piece", "eos_piece", "bos_piece", "unk_piece"], SPECIAL, strict=True)),
            **options,
        },
    )
    return proto.getvalue()


@pytest.fixture(scope="session")
def gemma_proto():
    """As Gemma's: no space before the text, spaces kept, marks of turns and line breaks as user-defined pieces."""
    return sentencepiece_proto(
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=[*MARKS, "\n", "\n\n", "▁▁"],
    )


@pytest.fixture(scope="session")
def prefix_proto():
    """As SentencePiece makes them by default: a space before the text; marks of turns are control pieces."""
    return sentencepiece_proto(control_symbols=MARKS)


@pytest.fixture(scope="session")
def bare_proto():
    """Without start, end and padding."""
    return sentencepiece_proto(pad_id=-1, bos_id=-1, eos_id=-1, unk_id=0)


@pytest.fixture(scope="session")
def gemma_json():
    """As Gemma's in the format of Hugging Face."""
    letters = sorted(set("".join(SENTENCES).replace(" ", "▁") + "ThesamplITS.!'31"))
    names = [*SPECIAL, *MARKS, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "th", "▁th", "\ufffd"]
    vocabulary = {name: index for index, name in enumerate(names)}
    merges = [("t", "h"), ("▁", "th")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([*SPECIAL, *MARKS])
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def llama_json(gemma_json):
    """With a space before the text, which is left out again."""
    tokenizer = Tokenizer.from_str(gemma_json)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def byte_level_json():
    """As GPT-2's: letters for bytes, and merges that begin and end inside of characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer.to_str()


def from_json(name):
    return lambda request: HuggingFaceTokenizer(Tokenizer.from_str(request.getfixturevalue(name)))


KINDS = {
    "bytes": lambda request: ByteTokenizer(),
    "gemma": lambda request: SentencePieceTokenizer(request.getfixturevalue("gemma_proto")),
    "prefix": lambda request: SentencePieceTokenizer(request.getfixturevalue("prefix_proto")),
    "gemma_json": from_json("gemma_json"),
    "llama_json": from_json("llama_json"),
    "byte_level_json": from_json("byte_level_json"),
    "train_bpe": lambda request: train_bpe(SENTENCES, 300),
}


@pytest.fixture(params=KINDS)
def tokenizer(request):
    """One of every kind."""
    return KINDS[request.param](request)
