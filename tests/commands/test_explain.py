import keras
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.explain import in_a_line
from keras_griffin.ops.implementation import Explanation, Op, Verdict, current_facts


def test_one_line_is_enough_for_most(monkeypatch, capsys):
    assert main(["explain"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{keras.backend.backend()} on ") and f" of {len(Op.registry)} ops have a kernel" in first
    assert first.endswith("; nothing to install.") and second == "--all shows the table of each op."
    facts = current_facts(None, "float32")
    verdicts = (Verdict("torch_triton", False, False, "needs Triton, which is not installed"),)
    verdicts += (Verdict("portable", True, True, "chosen"),)
    line = in_a_line([Explanation("linear_scan", facts, verdicts), Explanation("log_scan", facts, verdicts)])
    assert line.endswith(
        ": 0 of 2 ops have a kernel for it (linear_scan, log_scan: portable); needs Triton, which is not installed."
    )


def test_every_op_has_a_table_with_one_choice(capsys):
    assert main(["explain", "--all"]) == 0
    printed = capsys.readouterr().out
    for op in Op.registry.values():
        table = next(table for table in printed.split("\n\n") if table.startswith(f"{op.name} on "))
        assert keras.backend.backend() in table.splitlines()[0]
        assert sum(line.startswith("  * ") for line in table.splitlines()) == 1
        assert all(f" {row.name} " in table for row in op.implementations)


def test_every_op_is_asked_about_a_shape(capsys):
    assert main(["explain", "--all"]) == 0
    printed = capsys.readouterr().out
    assert "any shape" not in printed
    assert all(f"shape {op.cases.timed('cpu')[0].shape}" in printed for op in Op.registry.values())


def test_an_op_that_is_named_has_the_only_table(capsys):
    assert main(["explain", "linear_scan", "--dtype", "bfloat16"]) == 0
    printed = capsys.readouterr().out
    assert "bfloat16" in printed.splitlines()[0]
    assert "local_attention" not in printed


def test_an_unknown_op_is_refused_with_the_names(capsys):
    assert main(["explain", "cumsum"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("keras_griffin explain: an op must be one of ") and error.endswith("Got 'cumsum'.\n")
    assert main(["explain", "linear_scn"]) == 2
    assert capsys.readouterr().err.endswith("Got 'linear_scn'; did you mean 'linear_scan'?\n")


@pytest.mark.parametrize("name", ["linear_scan", "local_attention"])
def test_what_the_environment_asks_for_is_shown(name, monkeypatch, capsys):
    monkeypatch.setenv(f"KERAS_GRIFFIN_{name.upper()}", "portable")
    assert main(["explain", name]) == 0
    chosen = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  * ")]
    assert len(chosen) == 1 and "portable" in chosen[0] and "requested" in chosen[0]


def test_what_was_asked_for_and_cannot_serve_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "numpy_loop" if keras.backend.backend() != "numpy" else "jax_loop")
    assert main(["explain", "linear_scan"]) == 2
    printed = capsys.readouterr()
    assert sum(line.startswith("  ! ") for line in printed.out.splitlines()) == 1
    assert (
        printed.err.startswith("keras_griffin explain: linear_scan: the requested implementation ")
        and printed.err.count("\n") == 1
    )
