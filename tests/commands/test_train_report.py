from argparse import Namespace

import numpy as np
import pytest

from keras_griffin.commands.shared.text import TokenText, describe_validation
from keras_griffin.commands.shared.training import describe_result, describe_stop
from keras_griffin.tasks.text import Corpus
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import BestCheckpoint

pytestmark = pytest.mark.any_backend

CORPUS = Corpus("a text", np.zeros(90, "uint8"), np.zeros(1000, "uint8"), ("a", "b"), ("c",))
RESULT = {
    "bits_per_byte": 1.5,
    "zlib": 1.86,
    "lzma": 1.46,
    "bytes_per_second": 12345.6,
    "tokens_per_second": 12345.6,
    "seconds": 185.2,
}


def test_the_result_stands_beside_the_compressors(tmp_path):
    rows = describe_result(RESULT, tmp_path, is_drawn=True)
    assert rows["validation"] == "1.500 bits per byte"
    assert rows["to beat"] == "zlib needs 1.860 and lzma 1.460 bits per byte"
    assert rows["speed"] == "12,346 bytes per second in training"
    assert rows["time"] == "3 min 5 s in total"
    assert rows["next"].endswith(f"-m keras_griffin generate --model {tmp_path}")
    assert rows["saved"] == f"{tmp_path / 'model.keras'}, with log.csv, result.json and loss.png"


def test_without_matplotlib_it_says_how_to_get_the_curve(tmp_path):
    rows = describe_result(RESULT, tmp_path, is_drawn=False)
    assert rows["saved"].endswith("no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'")


def test_tokens_are_counted_beside_the_bytes_they_write(tmp_path):
    rows = describe_result({**RESULT, "tokens_per_second": 3456.7}, tmp_path, is_drawn=True)
    assert rows["speed"] == "12,346 bytes (3,457 tokens) per second in training"


def test_it_says_on_how_much_a_model_is_judged():
    tokens = np.zeros(500, "uint16")
    text = TokenText(CORPUS, ByteTokenizer(), tokens, tokens, np.full(256, 2))
    arguments = Namespace(sequence_length=4, batch_size=2)
    assert describe_validation(text, text.held_out(arguments)) == "all 1,000 held-out bytes"
    some = text.held_out(arguments, 3)
    assert describe_validation(text, some).endswith(" of the 1,000 held-out bytes, evenly spread")
    assert describe_validation(text, some).startswith(f"{2 * some.num_predictions} of ")


def test_what_ctrl_c_leaves_is_told(tmp_path):
    checkpoint = BestCheckpoint(tmp_path / "model.keras")
    assert describe_stop(checkpoint) == "Stopped before the first model was saved."
    checkpoint.path.write_text("")
    assert describe_stop(checkpoint).endswith(f"was saved. {checkpoint.path} is from an earlier run.")
    checkpoint.best = 2.5
    assert describe_stop(checkpoint) == (
        f"Stopped. The best model so far, 2.500 bits per byte, is in {tmp_path / 'model.keras'}"
    )
