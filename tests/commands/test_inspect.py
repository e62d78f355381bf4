import pytest

from keras_griffin.__main__ import main
from keras_griffin.models import GriffinConfig, MQATransformer
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = [pytest.mark.any_backend, pytest.mark.trainable]
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    config = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, block_pattern=("global_mqa",))
    MQATransformer(config, tokenizer=ByteTokenizer()).save_to_preset(folder)
    return str(folder)


def test_a_page_is_written(preset, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("def f(x):\n")
    page = tmp_path / "page.html"
    assert main(["inspect", preset, "--file", str(tmp_path / "text.txt"), "--output", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert "10 tokens" in page.read_text()
    assert main(["inspect", preset, "x", "--output", str(page)]) == 2
    assert capsys.readouterr().err == (
        f"keras_griffin inspect: --output must be a new file; --overwrite replaces it. "
        f"Got {str(page)!r}, which exists.\n"
    )
    # An argument from a shell may hold bytes that are no text.
    assert main(["inspect", preset, "a\udcff", "--output", str(page), "--overwrite"]) == 0
    assert ">a</span>" in page.read_text() and "2 tokens" in page.read_text()


def test_without_matplotlib(preset, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["inspect", preset, "x"]) == 2
    sentence = "keras_griffin inspect: matplotlib must be installed: pip install 'keras-griffin[viz]'.\n"
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "keras_griffin inspect: give TEXT or --file FILE. Got neither."),
        (["x", "--file", "y"], "keras_griffin inspect: give TEXT or --file FILE. Got both."),
        ([""], "keras_griffin inspect: the text must have at least one character. Got none."),
        (["--file", "nowhere.txt"], "keras_griffin inspect: --file must be a file that can be read. Got 'nowhere.txt'"),
        (
            ["x", "--output", "nowhere/page.html"],
            "keras_griffin inspect: --output must be a file in a folder that exists.",
        ),
    ],
)
def test_what_is_refused(preset, options, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", preset, *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(sentence) and printed.err.count("\n") == 1 and printed.out == ""
    assert not list(tmp_path.iterdir())
