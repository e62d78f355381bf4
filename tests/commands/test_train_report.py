import numpy as np
import pytest

from keras_griffin.__main__ import make_parser
from keras_griffin.commands.train import build_model
from keras_griffin.commands.train_report import chosen_kernels, describe_result, describe_stop, print_rows
from keras_griffin.tasks.text import Corpus
from keras_griffin.training import BestCheckpoint

CORPUS = Corpus("a text", np.zeros(90, "uint8"), np.zeros(10, "uint8"), ("a", "b"), ("c",))
RESULT = {"bits_per_byte": 1.5, "zlib": 1.86, "lzma": 1.46, "bytes_per_second": 12345.6, "seconds": 185.2}


def test_rows_stand_in_two_columns(capsys):
    print_rows({"a": "one", "held out": "two"})
    assert capsys.readouterr().out == "a            one\nheld out     two\n"


@pytest.mark.parametrize(
    ("family", "ops"), [("griffin", ["linear_scan", "local_attention"]), ("hawk", ["linear_scan"]), ("mqa", [])]
)
def test_the_kernels_are_those_of_the_mixers_in_use(family, ops):
    options = ["--model", family, "--width", "32", "--heads", "2", "--layers", "3"]
    arguments = make_parser().parse_args(["train", *options])
    assert list(chosen_kernels(arguments, build_model(arguments), "float32")) == ops


def test_the_result_stands_beside_the_compressors(tmp_path):
    rows = describe_result(RESULT, CORPUS, tmp_path, is_drawn=True)
    assert rows["validation"] == (
        "1.500 bits per byte, all 10 held-out bytes; zlib needs 1.860 and lzma 1.460 bits per byte"
    )
    assert rows["speed"] == "12,346 bytes/s in training; 3 min 5 s in all"
    assert rows["saved"] == f"{tmp_path / 'model.keras'}, with log.csv, result.json and loss.png"


def test_without_matplotlib_it_says_how_to_get_the_curve(tmp_path):
    rows = describe_result(RESULT, CORPUS, tmp_path, is_drawn=False)
    assert rows["saved"].endswith("no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'")


def test_what_ctrl_c_leaves_is_told(tmp_path):
    checkpoint = BestCheckpoint(tmp_path / "model.keras")
    assert describe_stop(checkpoint) == "Stopped before there was a model to keep."
    checkpoint.best = 2.5
    assert describe_stop(checkpoint) == (
        f"Stopped. The best model so far, 2.500 bits per byte, is in {tmp_path / 'model.keras'}"
    )
