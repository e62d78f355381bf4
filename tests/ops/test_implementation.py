"""The choice of an implementation: by preference, by request, and never by trial."""

import re
import sys
import threading
from types import SimpleNamespace

import pytest

import keras_griffin
from keras_griffin.ops.implementation import Implementation, Op, current_facts, explain, find_op, use_implementation

ACTIVE = current_facts(None, "float32").backend
DEVICE = current_facts(None, "float32").device
OTHER = "torch" if ACTIVE != "torch" else "jax"


def even_only(facts):
    return None if facts.shape is not None and facts.shape[-1] % 2 == 0 else "needs an even width"


#: An op of five rows, by name: why it can't serve a call, and what it computes.
MODULES = {
    "even": SimpleNamespace(supports=even_only, double=lambda x: "even"),
    "slow": SimpleNamespace(supports=lambda facts: None, double=lambda x: "slow"),
    "slower": SimpleNamespace(supports=lambda facts: None, double=lambda x: "slower"),
    "by_hand": SimpleNamespace(supports=lambda facts: None, double=lambda x: "by_hand"),
}
ROWS = [
    Implementation("elsewhere", backend=OTHER),
    Implementation("even", backend=ACTIVE),
    Implementation("slow"),
    Implementation("slower"),
    Implementation("by_hand", automatic=()),
]


@pytest.fixture
def op(monkeypatch):
    """The op, alone in the registry. Its first row has no module: it belongs to another backend."""
    for name, module in MODULES.items():
        monkeypatch.setitem(sys.modules, f"test_implementation_rows.{name}", module)
    monkeypatch.setattr(Op, "registry", {})
    monkeypatch.delenv("KERAS_GRIFFIN_DOUBLE", raising=False)
    return Op("double", "test_implementation_rows", ROWS)


def chosen(op, width):
    return op.choose((1, width), "float32")(None)


def test_the_first_that_supports_the_call_is_chosen(op):
    assert [chosen(op, width) for width in (4, 5)] == ["even", "slow"]


def test_a_row_for_no_device_runs_only_when_asked_for(op):
    op.implementations = op.implementations[::-1]
    assert chosen(op, 5) == "slower"
    with use_implementation("double", "by_hand"):
        assert chosen(op, 5) == "by_hand"


def test_a_request_ends_with_its_block_and_the_inner_one_wins(op):
    with use_implementation("double", "slower"):
        with use_implementation("double", "by_hand"):
            assert chosen(op, 4) == "by_hand"
        assert chosen(op, 4) == "slower"
    assert chosen(op, 4) == "even"


def test_a_request_ends_with_an_error_too(op):
    with pytest.raises(KeyError), use_implementation("double", "slower"):
        raise KeyError
    assert chosen(op, 4) == "even"


def test_a_request_leaves_other_ops_and_other_threads_alone(op):
    other = Op("triple", "test_implementation_rows", ROWS)
    seen = []
    with use_implementation("double", "slower"):
        assert other.requested() is None
        thread = threading.Thread(target=lambda: seen.append(op.requested()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_the_environment_asks_for_the_whole_process_and_a_block_overrides_it(op, monkeypatch):
    monkeypatch.setenv("KERAS_GRIFFIN_DOUBLE", "slower")
    assert chosen(op, 4) == "slower"
    with use_implementation("double", "even"):
        assert chosen(op, 4) == "even"


def test_a_row_of_another_backend_is_never_imported(op):
    assert op.rejection(ROWS[0], current_facts((1, 4), "float32")) == f"needs the {OTHER} backend"
    assert "test_implementation_rows.elsewhere" not in sys.modules


def test_a_request_that_cannot_be_served_is_an_error_at_the_call(op):
    call = f"; the call has backend {ACTIVE}, device {DEVICE}, shape (1, 5), dtype float32."
    for name, reason in (("even", "needs an even width"), ("elsewhere", f"needs the {OTHER} backend")):
        sentence = f"double: the implementation '{name}' was asked for and must support the call. It {reason}{call}"
        with use_implementation("double", name), pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            chosen(op, 5)


def test_an_unknown_implementation(op, monkeypatch):
    sentence = "double: an implementation must be one of elsewhere, even, slow, slower, by_hand. Got 'fast'."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"), use_implementation("double", "fast"):
        pass
    monkeypatch.setenv("KERAS_GRIFFIN_DOUBLE", "fast")
    for ask in (lambda: chosen(op, 4), lambda: explain("double")):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            ask()


@pytest.mark.parametrize("ask", [explain, find_op, lambda name: use_implementation(name, "slow").__enter__()])
def test_an_unknown_op(op, ask):
    with pytest.raises(ValueError, match=r"an op must be one of double\. Got 'halve'\.$"):
        ask("halve")


def test_no_implementation_at_all(op):
    op.implementations = op.implementations[:2]
    with pytest.raises(ValueError, match=r"^double: no implementation supports Facts\(.*shape=\(1, 5\).*\)\.$"):
        chosen(op, 5)


def test_the_table(op):
    assert str(explain("double", (1, 5))) == "\n".join(
        [
            f"double on {ACTIVE}, {DEVICE}, shape (1, 5), float32",
            f"    elsewhere  needs the {OTHER} backend",
            "    even       needs an even width",
            "  * slow       chosen: the first in order of preference",
            "    slower     available; slow is preferred",
            f"    by_hand    available; on {DEVICE} only when asked for",
        ]
    )


def test_the_table_of_a_request(op):
    with use_implementation("double", "by_hand"):
        explanation = explain("double", dtype="bfloat16")
    assert explanation.chosen == "by_hand"
    assert [verdict.available for verdict in explanation.verdicts] == [False, False, True, True, True]
    head, *_, last = str(explanation).splitlines()
    assert head == f"double on {ACTIVE}, {DEVICE}, any shape, bfloat16"
    assert last == "  * by_hand    chosen: asked for"


@pytest.mark.parametrize("name", ["linear_scan", "local_attention"])
def test_every_op_of_the_package_has_a_choice_here(name):
    assert keras_griffin.ops.explain(name).chosen != "reference"
    with keras_griffin.ops.use_implementation(name, "portable"):
        assert keras_griffin.ops.explain(name).chosen == "portable"


def test_an_unknown_op_is_refused_in_the_callers_name():
    with pytest.raises(ValueError, match=r"use_implementation: an op must be one of .*\. Got 'halve'\.$"):
        with use_implementation("halve", "portable"):
            pass
