import keras
import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.explain import in_a_line, requests, requests_checked, training_kernels, unused
from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.ops.implementation import Explanation, Op, Verdict, current_facts, recorded_choices

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=2, num_heads=2, window=4)
#: `train` has these kernels, and refuses to run on NumPy, whose `rg_lru` calls `linear_scan`.
trainable = pytest.mark.trainable
#: A dense layer of float32 is Keras's own elsewhere.
DENSE = ["row_product"] if keras.backend.backend() == "torch" else []


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
    assert "any shape" not in printed
    for op in Op.registry.values():
        table = next(table for table in printed.split("\n\n") if table.startswith(f"{op.name} on "))
        assert keras.backend.backend() in table.splitlines()[0]
        assert f"shape {op.cases.timed('cpu')[0].shape}" in table
        assert sum(line.startswith("  * ") for line in table.splitlines()) == 1
        assert all(f" {row.name} " in table for row in op.implementations)


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
    assert printed.err.startswith("keras_griffin explain: linear_scan: the requested implementation ")
    assert printed.err.count("\n") == 1


@trainable
def test_what_is_traced_is_what_trains():
    model = Griffin(CONFIG.replace(block_pattern=("recurrent", "local_mqa")))
    kernels = training_kernels(model, 2, 8)
    assert list(kernels) == [*DENSE, "block_product", "rg_lru", "local_attention"]
    token_ids = np.zeros((2, 8), "int32")
    model.compile("sgd", loss=model.loss)
    if keras.backend.backend() == "torch":
        # At the first batch Keras infers shapes, on the device "meta", for which others are chosen.
        model.train_on_batch(token_ids, token_ids)
    with recorded_choices() as choices:
        model.train_on_batch(token_ids, token_ids)
    assert {choice.op_name: choice.implementation for choice in choices} == kernels


@trainable
def test_the_op_that_was_asked_for_is_the_op_that_runs(monkeypatch):
    """`rg_lru` has loops of its own, which `linear_scan` does not choose; written in Keras, it calls that op."""
    model = Griffin(CONFIG.replace(block_pattern=("recurrent",), num_layers=1))
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "portable")
    kernels = training_kernels(model, 2, 8)
    called = ", ".join([*DENSE, "block_product", "rg_lru"])
    assert unused(requests(), kernels) == f"KERAS_GRIFFIN_LINEAR_SCAN=portable: the model calls only {called}"
    monkeypatch.setenv("KERAS_GRIFFIN_RG_LRU", "portable")
    kernels = training_kernels(model, 2, 8)
    assert (kernels["rg_lru"], kernels["linear_scan"]) == ("portable", "portable")
    assert unused(requests(), kernels) is None


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("KERAS_GRIFFIN_ROW_PRODUCT", "^row_product: an implementation must be one of .* Got 'magic'.$"),
        ("KERAS_GRIFFIN_LINEARSCAN", r"; did you mean 'KERAS_GRIFFIN_LINEAR_SCAN'\?$"),
        (
            "KERAS_GRIFFIN_SCAN",
            "^KERAS_GRIFFIN_SCAN: a variable that selects .* must be one of KERAS_GRIFFIN_BLOCK_PRODUCT, .*"
            "KERAS_GRIFFIN_SELECTIVE_SCAN.* Got 'KERAS_GRIFFIN_SCAN'; did you mean ",
        ),
    ],
)
def test_what_asks_for_nothing_there_is_refused(monkeypatch, variable, sentence):
    monkeypatch.setenv(variable, "magic")
    with pytest.raises(CommandError, match=sentence):
        requests()
    monkeypatch.setenv(variable, "")
    assert requests() == {}


def test_what_was_asked_for_in_vain_is_told(monkeypatch, capsys):
    """Once at the end, and not where the block fails."""
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "portable")
    with requests_checked() as asked:
        assert asked == {"linear_scan": "KERAS_GRIFFIN_LINEAR_SCAN=portable"}
    with pytest.raises(KeyError), requests_checked():
        raise KeyError
    assert capsys.readouterr() == ("", "Not used: KERAS_GRIFFIN_LINEAR_SCAN=portable: the model calls no such op.\n")
    assert unused({"rg_lru": "A=b"}, ["rg_lru"]) is None
    assert unused({"rg_lru": "A=b", "row_product": "C=d"}, ["rg_lru"]) == "C=d: the model calls only rg_lru"
