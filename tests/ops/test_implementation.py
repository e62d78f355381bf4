"""The choice of an implementation: by preference, by request, and never by trial."""

import re
import sys
import threading
from types import SimpleNamespace

import keras
import pytest

import keras_griffin
from keras_griffin.ops.implementation import (
    Implementation,
    Op,
    current_facts,
    explain,
    find_op,
    recorded_choices,
    use_implementation,
)

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
    monkeypatch.setitem(sys.modules, "test_implementation_rows", SimpleNamespace(**MODULES))
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


def test_a_request_that_cannot_be_served_is_an_error_at_the_call(op):
    call = f"; the call has backend {ACTIVE}, device {DEVICE}, shape (1, 5), dtype float32."
    for name, reason in (("even", "needs an even width"), ("elsewhere", f"needs the {OTHER} backend")):
        sentence = f"double: the requested implementation '{name}' must support the call. It {reason}{call}"
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


def test_the_table(op):
    assert str(explain("double", (1, 5))) == "\n".join(
        [
            f"double on {ACTIVE}, {DEVICE}, shape (1, 5), float32",
            f"    elsewhere  needs the {OTHER} backend",
            "    even       needs an even width",
            "  * slow       chosen: the first in order of preference",
            "    slower     available; slow is preferred",
            f"    by_hand    available; on {DEVICE} only on request",
        ]
    )


def test_the_table_of_a_request(op):
    with use_implementation("double", "by_hand"):
        explanation = explain("double", dtype="bfloat16")
    assert explanation.chosen == "by_hand"
    assert [verdict.available for verdict in explanation.verdicts] == [False, False, True, True, True]
    head, *_, last = str(explanation).splitlines()
    assert head == f"double on {ACTIVE}, {DEVICE}, any shape, bfloat16"
    assert last == "  * by_hand    chosen: requested"


@pytest.mark.parametrize("name", sorted(Op.registry))
def test_every_op_of_the_package_has_a_choice_here(name):
    assert keras_griffin.ops.explain(name).chosen != "reference"
    with keras_griffin.ops.use_implementation(name, "portable"):
        assert keras_griffin.ops.explain(name).chosen == "portable"


def test_what_is_chosen_is_recorded_once_each_in_the_order_of_the_calls(op):
    with recorded_choices() as choices:
        for width in (5, 4, 5):
            chosen(op, width)
        with use_implementation("double", "by_hand"):
            chosen(op, 5)
    chosen(op, 7)
    assert [(choice.op_name, choice.implementation, choice.facts.shape) for choice in choices] == [
        ("double", "slow", (1, 5)),
        ("double", "even", (1, 4)),
        ("double", "by_hand", (1, 5)),
    ]


def test_a_record_is_of_its_own_block_and_thread_and_ends_with_an_error_too(op):
    with recorded_choices() as outer:
        chosen(op, 5)
        with pytest.raises(KeyError), recorded_choices() as inner:
            chosen(op, 4)
            raise KeyError
        thread = threading.Thread(target=chosen, args=(op, 6))
        thread.start()
        thread.join()
        chosen(op, 7)
    assert [choice.facts.shape for choice in outer] == [(1, 5), (1, 7)]
    assert [choice.facts.shape for choice in inner] == [(1, 4)]


def test_what_is_refused_is_no_choice(op):
    with recorded_choices() as choices, use_implementation("double", "even"), pytest.raises(ValueError, match="must"):
        chosen(op, 5)
    assert choices == []


# Keras on NumPy traces with numbers that are not initialised.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_choices_are_recorded_while_keras_traces(monkeypatch):
    """On PyTorch it traces on a device without values, where there is nothing to be learned of real calls."""
    monkeypatch.delenv("KERAS_GRIFFIN_LINEAR_SCAN", raising=False)

    class Scan(keras.Operation):
        def call(self, x):
            return keras_griffin.ops.linear_scan(x, x)[0]

    with recorded_choices() as choices, use_implementation("linear_scan", "portable"):
        Scan().compute_output_spec(keras.KerasTensor((2, 4, 3)))
    assert {(choice.op_name, choice.implementation) for choice in choices} == {("linear_scan", "portable")}


@pytest.mark.skipif(ACTIVE != "torch", reason="of PyTorch's compiler")
def test_dynamo_follows_a_call_that_is_recorded():
    import torch

    def run(x):
        return keras_griffin.ops.linear_scan(x, x)[0]

    x = torch.ones((1, 4, 2))
    compiled = torch.compile(run, backend="eager")
    expected = compiled(x)
    torch._dynamo.reset()
    with recorded_choices() as choices:
        recorded = torch.compile(run, backend="eager")(x)
    assert torch.equal(recorded, expected)
    assert [choice.op_name for choice in choices] == ["linear_scan"]
