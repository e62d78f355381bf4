import csv
import re
from argparse import Namespace
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands import compare
from keras_griffin.commands.compare import (
    LINES,
    MIXERS,
    PICTURE,
    TABLE,
    Line,
    configs_of,
    count_steps,
    note,
    table,
    write,
)
from keras_griffin.mixers import mixer_names
from keras_griffin.training import RandomWindows, Stopwatch
from keras_griffin.training.pace import Pace

GRIFFIN = Line("recurrent", 890112, 2.34567, 4.9, 12345.6, 1.234, 11520.0)
TWO = Line("rwkv4+rwkv4_channel", 91, float("nan"), 4.9, 9.0, 10.0, 7.0)
SMALL = "--width 16 --layers 2 --sequence-length 16 --batch-size 4".split()


def options(**others):
    defaults = {"width": 128, "layers": 4, "mixers": ["recurrent"], "seed": 0, "sequence_length": 16, "batch_size": 4}
    return Namespace(**{**defaults, **others})


@pytest.fixture
def compare_small(text_file, tmp_path):
    """Compare models of two blocks with more options; the exit code."""
    return lambda words: main(["compare", str(text_file), *SMALL, "--output", str(tmp_path / "out"), *words.split()])


def lines_of(folder):
    with (folder / LINES).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.trainable
@pytest.mark.any_backend
def test_models_of_one_size_are_trained_on_the_same_batches(compare_small, tmp_path, monkeypatch, capsys):
    seen = defaultdict(list)

    class Noting(RandomWindows):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            seen[self].append(np.asarray(batch[0]).tobytes())
            return batch

    monkeypatch.setattr("keras_griffin.training.RandomWindows", Noting)
    assert compare_small("--mixers recurrent,rwkv4+rwkv4_channel --steps 3") == 0
    printed = capsys.readouterr().out
    lines = lines_of(tmp_path / "out")
    assert [line["mixers"] for line in lines] == ["recurrent", "rwkv4+rwkv4_channel"]
    counts = [int(line["parameters"]) for line in lines]
    assert max(counts) <= 1.02 * min(counts)
    assert all(float(value) > 0 for line in lines for name, value in line.items() if name != "mixers")
    assert all(float(line["bits_per_byte"]) < 9 for line in lines)
    # Keras may read a batch twice, and the first one of another epoch.
    one, other = ([*dict.fromkeys(batches)][:3] for batches in seen.values())
    assert one == other and len(one) == 3
    text = (tmp_path / "out" / TABLE).read_text()
    assert text.split("\n\n")[1].strip() in printed and f"{3 * 4 * 16:,} bytes each" in text
    # Three steps teach nothing that is worth a comparison.
    assert "Marked with *: too short to compare, " in printed and "too short to compare" in text
    assert "to beat" in printed and "trained      recurrent: " in printed


@pytest.mark.trainable
@pytest.mark.any_backend
def test_ctrl_c_keeps_what_is_finished(compare_small, tmp_path, monkeypatch, capsys):
    class Interrupting(Stopwatch):
        models = 0

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            Interrupting.models += batch == 0
            if Interrupting.models == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("keras_griffin.training.Stopwatch", Interrupting)
    assert compare_small("--mixers gilr,lru --steps 2") == 130
    printed = capsys.readouterr()
    assert [line["mixers"] for line in lines_of(tmp_path / "out")] == ["gilr"]
    assert printed.err == f"Stopped. 1 of 2 models are finished, in {tmp_path / 'out'}.\n"
    assert "| gilr " in printed.out and "| lru " not in printed.out
    # And it is not overwritten.
    assert compare_small("--mixers lru --steps 2") == 2
    assert "--output must be a folder without a comparison; --overwrite replaces it. Got " in capsys.readouterr().err
    overwriting = Namespace(files=[], output=str(tmp_path / "out"), overwrite=True)
    assert compare.output_folder(overwriting) == tmp_path / "out"


@pytest.mark.any_backend
def test_minutes_are_shared(monkeypatch, capsys):
    paces = [Pace(start=1.0, step=0.5, validation=0.5), Pace(start=2.0, step=1.5, validation=0.25)]
    clock = SimpleNamespace(now=0.0)

    def pace_of(model, text, arguments):
        clock.now += 7.0
        return paces[model]

    monkeypatch.setattr(compare, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr("keras_griffin.commands.shared.training.pace_of", pace_of)
    monkeypatch.setattr(compare, "build", lambda config, text, arguments: config)
    # There are two batches of validation.
    assert count_steps({"a": 0, "b": 1}, None, SimpleNamespace(num_batches=2), options(minutes=1.0)) == 20
    assert capsys.readouterr().out == (
        "pace         500, 1500 ms per step: enough time for 20 steps each\n"
        "of that time 17 s compiling, 40 s training, 2 s validating\n"
    )


@pytest.mark.any_backend
@pytest.mark.parametrize("width", [16, 128])
def test_every_mixer_can_be_compared(width):
    configs = configs_of(options(mixers=[*mixer_names(), "rwkv4+rwkv4_channel"], width=width), 256)
    counts = [config.parameter_count() for config in configs.values()]
    assert max(counts) <= 1.02 * min(counts)
    assert set(MIXERS.split(",")) <= {*configs}


@pytest.mark.trainable
@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--mixers mamba,nothing", "block_pattern must be a list or tuple of mixers among recurrent,"),
        ("--mixers mamba+", "block_pattern must be a list or tuple of mixers among recurrent,"),
        ("--mixers lru,lru", "--mixers must name each model once. Got lru,lru."),
        ("--mixers lru+s5+gilr", "--layers must be at least the mixers of a model. Got 2 for lru+s5+gilr."),
        ("--sequence-length 100000", "the training and the validation part must have at least 100001"),
        ("--output=", "--output must be a folder. Got ''."),
        ("--output {text}", "--output must be a folder. Got "),
    ],
)
def test_what_is_refused(words, sentence, compare_small, text_file, capsys):
    assert compare_small(words.format(text=text_file)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"keras_griffin compare: {sentence}") and printed.err.count("\n") == 1


@pytest.mark.trainable
@pytest.mark.any_backend
def test_the_output_must_not_become_text(text_file, capsys):
    assert main(["compare", str(text_file.parent), "--output", str(text_file.parent / "out")]) == 2
    assert "--output must be a folder outside the text" in capsys.readouterr().err


@pytest.mark.any_backend
def test_the_table_is_markdown_in_straight_columns():
    rows = table([GRIFFIN, TWO]).splitlines()
    assert len(rows) == 4 and len({len(row) for row in rows}) == 1
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][:3] == ["mixers", "parameters", "bits per byte"]
    assert cells[2] == ["recurrent", "890,112", "2.346", "12,346", "1.23", "11,520"]
    assert cells[3][0] == "rwkv4+rwkv4_channel" and cells[3][2] == "nan*"
    # A model no better than frequencies is marked.
    short = GRIFFIN._replace(bits_per_byte=4.9)
    assert "| 4.900* |" in re.sub(" +", " ", table([short])) and "*" not in table([GRIFFIN])
    assert not note([GRIFFIN]) and "too short to compare" in note([GRIFFIN, short]) and "4.900 bits" in note([short])


@pytest.mark.any_backend
def test_the_files(tmp_path):
    pytest.importorskip("matplotlib")
    assert write([GRIFFIN], "4 layers", tmp_path) == [LINES, TABLE, PICTURE]
    # A later one replaces them.
    assert write([GRIFFIN, TWO], "4 layers", tmp_path) == [LINES, TABLE, PICTURE]
    assert {path.name for path in tmp_path.iterdir()} == {LINES, TABLE, PICTURE}
    with (tmp_path / LINES).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["mixers"] for line in lines] == ["recurrent", "rwkv4+rwkv4_channel"]
    assert (lines[0]["bits_per_byte"], lines[0]["frequency_bits_per_byte"]) == ("2.34567", "4.9")
    assert set(lines[0]) == set(Line._fields)
    assert (tmp_path / TABLE).read_text() == f"# 4 layers\n\n{table([GRIFFIN, TWO])}{note([TWO])}\n"
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
