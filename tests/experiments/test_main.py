import re
import subprocess
import sys

import keras
import pytest

from experiments import selective_copying
from experiments.__main__ import main
from experiments.harness.report import write_report
from experiments.harness.runner import FOLDER, NAMES, experiment
from experiments.harness.table import Table
from tests.experiments.harness import made_up

#: Run on each backend, for the harness and a language model.
EVERYWHERE = ("selective_copying",)
OTHERS = [pytest.param(name, marks=pytest.mark.any_backend) for name in NAMES if name not in EVERYWHERE]


@pytest.mark.trainable
@pytest.mark.parametrize("name", [*EVERYWHERE, *OTHERS])
def test_an_experiment_runs_in_seconds_and_its_report_follows_from_its_csv(name, tmp_path, capsys, monkeypatch):
    # The tokens of the standard library would take longer than all the rest.
    monkeypatch.setenv("EXPERIMENTS_TEXT", str(FOLDER.parent / "docs" / "experiments.md"))
    reports, module = tmp_path / "reports", experiment(name)
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(reports)]
    main([name, "--scale", "smoke", *folders])
    assert ("| **" in capsys.readouterr().out) == bool(module.CLAIMS)
    assert sorted(file.name for file in reports.iterdir()) == [f"{name}{end}" for end in (".csv", ".md", ".svg")]
    main([name, "--scale", "smoke", "--list", *folders])
    assert re.search(r"[1-9] finished, 0 to run", capsys.readouterr().out)
    write_report(module, name, Table.read(reports / f"{name}.csv"), tmp_path / "again")
    for file in reports.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    assert b"<dc:date>" not in (reports / f"{name}.svg").read_bytes()


@pytest.mark.any_backend
def test_lists_and_reports_before_the_first_run(tmp_path, capsys):
    main(["--list", "--seeds", "0,1", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == list(NAMES)
    # The search of five models at three rates.
    assert "0 finished, 15 to run" in listed[NAMES.index("selective_copying")]
    main(["--report", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")])
    assert not (tmp_path / "reports").exists()


@pytest.mark.any_backend
def test_the_backend_is_one_that_is_installed():
    """The package chooses it, and must be imported before Keras, which would take TensorFlow."""
    program = "import sys, experiments; print('keras_griffin' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True, cwd=FOLDER.parent) == "True\n"


@pytest.mark.any_backend
def test_an_unknown_experiment_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["speed"])
    assert f"the experiments are {', '.join(NAMES)}. Got speed." in capsys.readouterr().err


@pytest.mark.any_backend
@pytest.mark.parametrize("seeds", ["a,b", "-1", "0,", ""])
def test_seeds_that_are_no_numbers_are_refused(seeds, capsys):
    with pytest.raises(SystemExit):
        main([f"--seeds={seeds}", "--list"])
    rule = "argument --seeds: they must be integers of at least 0, separated by commas."
    assert f"{rule} Got {seeds!r}." in capsys.readouterr().err


@pytest.mark.any_backend
def test_a_backend_without_gradients_and_a_text_that_is_not_there_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(SystemExit):
        main(["selective_copying", "--runs", str(tmp_path)])
    assert "KERAS_BACKEND must be one of jax, tensorflow, torch. Got numpy." in capsys.readouterr().err
    monkeypatch.setenv("EXPERIMENTS_TEXT", "/nowhere.txt")
    with pytest.raises(SystemExit):
        main(["long_context", "--list", "--runs", str(tmp_path)])
    assert "EXPERIMENTS_TEXT must name a file. Got '/nowhere.txt'." in capsys.readouterr().err


@pytest.mark.trainable
@pytest.mark.any_backend
@pytest.mark.parametrize(("name", "rule"), [("a.gz", "whole and of gzip"), ("a.rdb", "a whole database")])
def test_a_text_that_is_broken_is_refused_in_one_sentence(name, rule, tmp_path, capsys, monkeypatch):
    (tmp_path / name).write_bytes(b"no such thing")
    monkeypatch.setenv("EXPERIMENTS_TEXT", str(tmp_path / name))
    with pytest.raises(SystemExit) as refused:
        main(["long_context", "--scale", "smoke", "--runs", str(tmp_path)])
    assert refused.value.code == 2 and f"must be {rule}" in capsys.readouterr().err


@pytest.mark.trainable
@pytest.mark.any_backend
def test_a_report_is_not_replaced_by_one_with_fewer_runs(tmp_path, capsys):
    """As one of another scale would be; what it has is kept, and a seed is one more."""
    table = made_up.carried_out(selective_copying, "small", (0, 1), made_up.soonest_at(2e-3))
    write_report(selective_copying, "selective_copying", table, tmp_path)
    before = (tmp_path / "selective_copying.csv").read_bytes()
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    with pytest.raises(SystemExit, match="^selective_copying: a report must have every run"):
        main(["selective_copying", "--scale", "smoke", *folders])
    assert (tmp_path / "selective_copying.csv").read_bytes() == before
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["selective_copying", "resets", "--scale", "smoke", "--report", *folders])
    # Before the others, which can take hours.
    assert capsys.readouterr().err.count("selective_copying: a report must have every run") == 1
    for seeds, waiting in (("0", 0), ("7", 3), ("1,7,8", 6)):
        main(["selective_copying", "--seeds", seeds, "--list", *folders])
        assert f"18 finished, {waiting} to run" in capsys.readouterr().out
        main(["selective_copying", "--seeds", seeds, "--report", *folders])
        assert (tmp_path / "selective_copying.csv").read_bytes() == before and "written to" in capsys.readouterr().out


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("content", "rule"), [(b"\x00\xff", "must have the columns run,"), (b"", "must have the columns")]
)
def test_results_that_are_no_table_are_refused_in_one_sentence(content, rule, tmp_path, capsys):
    (tmp_path / "induction_heads.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=f"^induction_heads: Table: .*induction_heads.csv {rule}"):
        main(["induction_heads", "resets", "--list", "--output", str(tmp_path), "--runs", str(tmp_path / "runs")])
    # The others are told all the same.
    assert capsys.readouterr().out.startswith("resets: ")
    assert (tmp_path / "induction_heads.csv").read_bytes() == content


@pytest.mark.any_backend
def test_folders_that_are_files_are_refused_before_the_first_run(tmp_path, capsys):
    (tmp_path / "file").touch()
    for option in ("--runs", "--output"):
        with pytest.raises(SystemExit):
            main(["selective_copying", "--list", option, str(tmp_path / "file")])
        assert f"{option} must be a folder. Got {str(tmp_path / 'file')!r}." in capsys.readouterr().err
