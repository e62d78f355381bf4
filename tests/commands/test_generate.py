import argparse

import keras
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands import generate
from keras_griffin.commands.generate import continue_text, make_sampler, prompt_of_run, stream_text
from keras_griffin.generation import Greedy, TopP
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.ops.implementation import find_op
from keras_griffin.tokenizers import ByteTokenizer, train_bpe
from tests.commands.conftest import TINY


def options(prompt="def ", temperature=1.0, seed=0, tokens=20):
    return argparse.Namespace(prompt=prompt, temperature=temperature, top_p=0.9, seed=seed, tokens=tokens)


def write(model, prompt="def ", **values):
    return continue_text(model, prompt, 20, options(**values))


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.slow
def test_the_model_of_a_run_continues_a_prompt(finished_run, capsys):
    folder, _, _ = finished_run
    assert main(["generate", "--model", str(folder / "model.keras"), "--prompt", "return ", "--bytes", "5"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("return ") and printed.out.endswith("\n") and not printed.err
    assert 1 + len("return ") < len(printed.out) <= 1 + len("return ") + 5


@pytest.mark.any_backend
@pytest.mark.trainable
def test_without_a_prompt_the_model_of_a_run_continues_the_runs_own(finished_run, byte_model, tmp_path, monkeypatch):
    folder, _, _ = finished_run
    prompt = (folder / "prompt.txt").read_text()
    for name in (folder, folder / "model.keras"):
        assert prompt_of_run(str(name)) == prompt.strip() != ""
    # Another model, a preset and a model on the Hub have none.
    (tmp_path / "prompt.txt").write_text("mine")
    (tmp_path / "model.keras").write_text("")
    for name in (folder / "other.keras", tmp_path, tmp_path / "model.keras", "hf://owner/name", ""):
        assert prompt_of_run(str(name)) == ""
    monkeypatch.chdir(folder)
    assert prompt_of_run("model.keras") == prompt


@pytest.mark.any_backend
def test_without_a_start_token_a_text_begins_after_a_line_break(capsys):
    tokenizer = train_bpe(["the cat\n"], 260)
    model = Griffin(TINY.replace(vocabulary_size=tokenizer.vocabulary_size), tokenizer=tokenizer)
    assert tokenizer.start_id is None and write(model, "").startswith("\n")
    assert stream_text(model, options("")) == 0
    assert capsys.readouterr().out == write(model, "") + "\n"


def test_a_model_from_a_folder_continues_a_prompt(gemma_model, tmp_path, capsys):
    save_to_preset(gemma_model, tmp_path / "preset")
    words = ["--prompt", "the cat", "--tokens", "5", "--dtype", "bfloat16"]
    assert main(["generate", "--model", str(tmp_path / "preset"), *words]) == 0
    assert capsys.readouterr().out.startswith("the cat")


@pytest.mark.any_backend
def test_the_seed_decides_what_is_written(byte_model):
    assert write(byte_model, seed=1) == write(byte_model, seed=1) != write(byte_model, seed=2)


@pytest.mark.any_backend
def test_at_temperature_zero_the_seed_does_not_matter(byte_model):
    assert make_sampler(options(temperature=0.0)) == Greedy()
    assert make_sampler(options(temperature=0.5)) == TopP(0.9, 0.5)
    assert write(byte_model, temperature=0.0, seed=1) == write(byte_model, temperature=0.0, seed=2)


@pytest.mark.any_backend
@pytest.mark.parametrize("prompt", ["", "the cat"])
@pytest.mark.parametrize("kind", ["byte_model", "gemma_model"])
def test_a_stream_is_the_same_text(kind, prompt, request, capsys):
    model = request.getfixturevalue(kind)
    assert stream_text(model, options(prompt)) == 0
    assert capsys.readouterr().out == write(model, prompt) + "\n"


@pytest.mark.any_backend
def test_a_stream_is_shown_piece_by_piece(byte_model, says, use_model, monkeypatch):
    """Each at once, and no character by halves."""
    shown = []
    monkeypatch.setattr(generate, "show", shown.append)
    for token_id, letter in ((97, "a"), (0xC3, "\ufffd")):
        use_model(byte_model, says(token_id))
        assert stream_text(byte_model, options("é", tokens=3)) == 0
        assert shown == ["é", letter, letter, letter]
        shown.clear()


@pytest.mark.any_backend
def test_ctrl_c_ends_a_stream_and_its_line(byte_model, says, use_model, monkeypatch, capsys):
    show, shown = generate.show, []

    def show_and_stop(piece):
        show(piece)
        shown.append(piece)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(generate, "show", show_and_stop)
    use_model(byte_model, says(97))
    assert main(["generate", "--model", "any", "--prompt", "x", "--stream"]) == 130
    assert capsys.readouterr() == ("xaa\n", "")


@pytest.mark.any_backend
@pytest.mark.parametrize("words", [[], ["--stream"]])
def test_a_prompt_that_the_tokenizer_does_not_take_is_refused(gemma_model, use_model, capsys, words):
    use_model(gemma_model)
    assert main(["generate", "--model", "any", "--prompt", "a\udcff", *words]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.startswith(
        "keras_griffin generate: the text must be characters only. Got the surrogate"
    )


@pytest.mark.any_backend
@pytest.mark.parametrize("op_name", ["block_product", "linear_scan"])
def test_an_implementation_that_is_not_there_is_told(byte_model, use_model, monkeypatch, capsys, op_name):
    use_model(byte_model)
    monkeypatch.setenv(f"KERAS_GRIFFIN_{op_name.upper()}", "magic")
    assert main(["generate", "--model", "any"]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.startswith(
        f"keras_griffin generate: {op_name}: an implementation must be one of"
    )
    assert printed.err.count("\n") == 1


def test_an_implementation_that_can_not_serve_is_told(use_model, monkeypatch, capsys):
    """Of a model of its own: what is compiled makes no choice anew."""
    config = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, block_pattern=("recurrent",))
    model = Griffin(config, tokenizer=ByteTokenizer())
    use_model(model)
    for op_name in ("rg_lru", "block_product"):
        op = find_op(op_name)
        # Of `block_product` one row alone belongs to a backend, PyTorch.
        names = [row.name for row in op.implementations if row.backend not in (None, keras.backend.backend())]
        if not names:
            continue
        name = names[0]
        with monkeypatch.context() as patch:
            patch.setenv(op.variable, name)
            assert main(["generate", "--model", "any", "--tokens", "2"]) == 2
        printed = capsys.readouterr()
        assert not printed.out and printed.err.count("\n") == 1
        assert printed.err.startswith(
            f"keras_griffin generate: {op_name}: the requested implementation '{name}' must support "
        )


@pytest.mark.any_backend
def test_an_implementation_that_is_not_used_is_told(byte_model, says, use_model, monkeypatch, capsys):
    use_model(byte_model, says(97))
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_CROSS_ENTROPY", "portable")
    assert main(["generate", "--model", "any", "--tokens", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "aa\n"
    assert printed.err.startswith("Not used: KERAS_GRIFFIN_LINEAR_CROSS_ENTROPY=portable: the model ")
