import numpy as np

from keras_griffin.commands.train_report import describe_result, describe_stop, print_rows
from keras_griffin.tasks.text import Corpus
from keras_griffin.training import BestCheckpoint

CORPUS = Corpus("a text", np.zeros(90, "uint8"), np.zeros(10, "uint8"), ("a", "b"), ("c",))
RESULT = {"bits_per_byte": 1.5, "zlib": 1.86, "lzma": 1.46, "bytes_per_second": 12345.6, "seconds": 185.2}


def test_rows_stand_in_two_columns(capsys):
    print_rows({"a": "one", "held out": "two"})
    assert capsys.readouterr().out == "a            one\nheld out     two\n"


def test_the_result_stands_beside_the_compressors(tmp_path):
    rows = describe_result(RESULT, CORPUS, tmp_path, is_drawn=True)
    assert rows["validation"] == "1.500 bits per byte"
    assert rows["to beat"] == "zlib needs 1.860 and lzma 1.460 bits per byte"
    assert rows["speed"] == "12,346 tokens (bytes) per second in training"
    assert rows["time"] == "3 min 5 s in all"
    assert rows["saved"] == f"{tmp_path / 'model.keras'}, with log.csv, result.json and loss.png"


def test_without_matplotlib_it_says_how_to_get_the_curve(tmp_path):
    rows = describe_result(RESULT, CORPUS, tmp_path, is_drawn=False)
    assert rows["saved"].endswith("no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'")


def test_what_ctrl_c_leaves_is_told(tmp_path):
    checkpoint = BestCheckpoint(tmp_path / "model.keras")
    assert describe_stop(checkpoint) == "Stopped before there was a model to keep."
    checkpoint.path.write_text("")
    assert describe_stop(checkpoint).endswith(f"to keep. {checkpoint.path} is of an earlier run.")
    checkpoint.best = 2.5
    assert describe_stop(checkpoint) == (
        f"Stopped. The best model so far, 2.500 bits per byte, is in {tmp_path / 'model.keras'}"
    )
