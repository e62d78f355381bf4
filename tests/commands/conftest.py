import contextlib
import io
import resource
from dataclasses import dataclass

import pytest
import sentencepiece
from keras import ops

from keras_griffin.__main__ import main
from keras_griffin.commands.shared import load
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tokenizers import ByteTokenizer, SentencePieceTokenizer

TINY = GriffinConfig(
    vocabulary_size=256,
    width=16,
    num_layers=2,
    num_heads=2,
    window=8,
    num_gate_blocks=2,
    block_pattern=("recurrent", "local_mqa"),
)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.py"
    path.write_text("".join(f"def f_{i}(x):\n    return x + {i}\n\n" for i in range(100)))
    return path


@pytest.fixture(scope="session")
def finished_run(text_file, tmp_path_factory):
    """The folder of a run of three steps, what it printed, and its exit code."""
    folder = tmp_path_factory.mktemp("run")
    model = "--width 32 --layers 3 --heads 2 --window 8 --sequence-length 16 --batch-size 4".split()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(["train", str(text_file), *model, "--steps", "3", "--sample-bytes", "12", "--output", str(folder)])
    return folder, printed.getvalue(), code


@pytest.fixture(scope="session")
def byte_model():
    """A model of bytes that has learnt nothing; tests share it, with what is compiled for it."""
    return Griffin(TINY, tokenizer=ByteTokenizer())


@pytest.fixture(scope="session")
def gemma_model():
    """A model that has learnt nothing, with a tokenizer that knows Gemma's marks of turns."""
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat", "hello world, hello all", "user", "model"] * 5),
        model_writer=proto,
        model_type="bpe",
        vocab_size=350,
        byte_fallback=True,
        hard_vocab_limit=False,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "\n"],
        minloglevel=2,
        **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3},
    )
    tokenizer = SentencePieceTokenizer(proto.getvalue())
    size = tokenizer.vocabulary_size
    # As RecurrentGemma, so that it can be saved as one.
    config = TINY.replace(vocabulary_size=size, recurrence_width=24, scale_embeddings=True, logits_soft_cap=30.0)
    return Griffin(config, tokenizer=tokenizer)


@dataclass(frozen=True)
class Says:
    """A sampler that chooses one token, and now and then another."""

    token_id: int
    other_id: int | None = None

    def __call__(self, logits, uniform):
        """`(B, V)` and `(B,)` to `(B,)`."""
        other_id = self.token_id if self.other_id is None else self.other_id
        return ops.cast(ops.where(uniform < 0.3, other_id, self.token_id), "int32")


@pytest.fixture(scope="session")
def limit_files():
    """A context in which no file grows beyond so many bytes: writing fails as it does on a full disk."""

    @contextlib.contextmanager
    def limit(num_bytes):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture(scope="session")
def says():
    """What makes a sampler that chooses one token, and now and then another."""
    return Says


@pytest.fixture
def use_model(monkeypatch):
    """Have commands use a model, whatever `--model` says, and a sampler instead of that of the options."""

    def use(model, sampler=None):
        monkeypatch.setattr(load, "load_text_model", lambda command, name, dtype, **options: model)
        if sampler is not None:
            for command in ("chat", "generate"):
                monkeypatch.setattr(f"keras_griffin.commands.{command}.make_sampler", lambda arguments: sampler)

    return use
