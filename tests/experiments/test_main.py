import re

import keras
import pytest

from experiments.__main__ import main
from experiments.harness.runner import NAMES, experiment


@pytest.mark.trainable
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_in_seconds(name, tmp_path, capsys):
    folders = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")]
    main([name, "--scale", "smoke", *folders])
    assert ("| **" in capsys.readouterr().out) == bool(experiment(name).CLAIMS)
    assert sorted(file.name for file in (tmp_path / "reports").iterdir()) == [
        f"{name}{end}" for end in (".csv", ".md", ".png")
    ]
    main([name, "--scale", "smoke", "--list", *folders])
    assert re.search(r"[1-9] finished, 0 to run", capsys.readouterr().out)


@pytest.mark.any_backend
def test_lists_and_reports_before_the_first_run(tmp_path, capsys):
    main(["--list", "--seeds", "0,1", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == list(NAMES) and "0 finished, 9 to run" in listed[0]
    main(["--report", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")])
    assert not (tmp_path / "reports").exists()


@pytest.mark.any_backend
def test_an_unknown_experiment_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["speed"])
    assert f"the experiments are {', '.join(NAMES)}. Got speed." in capsys.readouterr().err


@pytest.mark.any_backend
def test_seeds_that_are_no_numbers_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--seeds", "a,b", "--list"])
    assert "argument --seeds: they must be integers, separated by commas. Got 'a,b'." in capsys.readouterr().err


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
