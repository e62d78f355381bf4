"""What a step does not see touches none of its numbers, forward or backward, be it NaN, infinite or close to it.

Random documents, resets and masks. Some documents, all masked steps and, before a reset at the first step, the initial
state are spoiled; what the others give is compared with the definition on clean data.
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import (
    causal_conv,
    explain,
    global_attention,
    local_attention,
    sparse_attention,
    use_implementation,
)
from keras_griffin.ops.delta_rule.cases import DeltaCase
from keras_griffin.ops.gated_linear_attention.cases import LinearAttentionCase
from keras_griffin.ops.global_attention import reference as global_reference
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.local_attention import reference as attention_reference
from keras_griffin.ops.log_scan.cases import LogCase
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.sparse_attention import reference as sparse_reference
from keras_griffin.ops.state_space.cases import SystemCase
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.ops.rows import runnable

# NumPy says where numbers overflow.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")

BACKEND = keras.backend.backend()
CAN_TRAIN = BACKEND in ("jax", "torch", "tensorflow")
#: Long enough to be cut into chunks and pieces, by every implementation that does so.
BATCH, LENGTH, WIDTH = 8, 70, 3
POISONS = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], "float32")


class Rows(NamedTuple):
    """Marks and documents, `(B, T)`, and which of these, and of the rows' starts and ends, `(B,)`, are spoiled."""

    reset: np.ndarray
    mask: np.ndarray
    documents: np.ndarray
    spoiled: np.ndarray
    spoiled_start: np.ndarray
    spoiled_end: np.ndarray
    generator: np.random.Generator

    def spoil(self, array, where):
        """The array `(B, ...)` with poison for every second of its numbers where `where`, `(B,)` or `(B, T)`, says."""
        where = where.reshape(where.shape + (1,) * (array.ndim - where.ndim))
        hit = where & (self.generator.random(array.shape) < 0.5)
        return np.where(hit, self.generator.choice(POISONS, array.shape), array).astype("float32")

    def spoil_steps(self, array):
        """Spoiled documents and masked steps."""
        return self.spoil(array, self.spoiled | ~self.mask)


def random_rows(reverse=False, share=0.5):
    generator = np.random.default_rng(0)
    reset, mask = generator.random((BATCH, LENGTH)) < 0.1, generator.random((BATCH, LENGTH)) < 0.85
    first = -1 if reverse else 0
    reset[0, first] = mask[0, first] = True
    order = slice(None, None, -1) if reverse else slice(None)
    documents = (reset & mask)[:, order].cumsum(axis=1)[:, order]
    is_spoiled = generator.random((BATCH, LENGTH + 1)) < share
    # Nothing sees this start.
    is_spoiled[0, 0] = True
    spoiled = np.take_along_axis(is_spoiled, documents, axis=1)
    return Rows(reset, mask, documents, spoiled, is_spoiled[:, 0], spoiled[:, 0 if reverse else -1], generator)


def draw(rows, *shape):
    return rows.generator.normal(size=shape).astype("float32")


def assert_clean(actual, expected, spoiled):
    """Fail unless they are close where nothing is spoiled, `(B,)` or `(B, T)`."""
    clean = ~spoiled.reshape(spoiled.shape + (1,) * (expected.ndim - spoiled.ndim))
    assert_close(np.where(clean, actual, 0.0), np.where(clean, expected, 0.0), "float32", factor=3)


def weighted(results, weights):
    """A scalar loss."""
    return sum(ops.sum(x * ops.convert_to_tensor(weight)) for x, weight in zip(results, weights, strict=True))


SCANS = {
    **{"linear_scan": ScanCase, "log_scan": LogCase, "rg_lru": UnitCase, "selective_scan": SelectiveCase},
    **{"gated_linear_attention": LinearAttentionCase, "delta_rule": DeltaCase, "state_space": SystemCase},
}
#: A masked step of these outputs zeros.
HIDING = ("selective_scan", "gated_linear_attention", "delta_rule", "state_space")
COMPLEX = {"is_complex": True, "reverse": True}
CALLS = [
    *(("linear_scan", name, COMPLEX) for name in runnable("linear_scan")),
    ("linear_scan", explain("linear_scan").chosen, {}),
    *((op_name, name, {}) for op_name in ("log_scan", "rg_lru", "selective_scan") for name in runnable(op_name)),
    ("rg_lru", explain("rg_lru").chosen, COMPLEX),
    # No document is spoiled, only what none sees: the gradients for parameters are to be right as well.
    ("rg_lru", explain("rg_lru").chosen, {"is_complex": True, "share": 0.0}),
    ("selective_scan", explain("selective_scan").chosen, {"share": 0.0}),
    ("delta_rule", "portable", {}),
    *(("gated_linear_attention", "portable", options) for options in ({"by_channel": True}, {"has_angles": True})),
    *(("state_space", "portable", options) for options in ({}, {"is_dense": True}, {"share": 0.0})),
]


@pytest.mark.parametrize(("op_name", "implementation", "options"), CALLS)
def test_scan(op_name, implementation, options):
    share, reverse = options.get("share", 0.5), options.get("reverse", False)
    rows = random_rows(reverse, share)

    class Marked(SCANS[op_name]):
        @property
        def options(self):
            return {**super().options, "reset": rows.reset, "mask": rows.mask}

    case = Marked(LENGTH, BATCH, WIDTH, **{name: value for name, value in options.items() if name != "share"})
    arrays = [argument.values for argument in case.arguments()]
    results = case.definition(*arrays)
    weights = [draw(rows, *result.shape) for result in results]
    expected = case.gradients(weights, *arrays)

    def at(array, steps, state, parameter=False):
        """Which of these an array has: steps, rows of the batch, or neither."""
        if array.shape[:2] == (BATCH, LENGTH):
            return steps
        return state if array.shape[0] == BATCH else np.full(len(array), parameter)

    seen = rows.spoiled & rows.mask
    spoiled = [rows.spoil(x, at(x, rows.spoiled | ~rows.mask, rows.spoiled_start)) for x in arrays]
    hides = op_name in HIDING
    weights_spoiled = rows.spoiled | ~rows.mask if hides else rows.spoiled
    weights = [rows.spoil(x, at(x, weights_spoiled, rows.spoiled_end)) for x in weights]
    with use_implementation(op_name, implementation):
        outputs = [as_array(x) for x in case.call(*map(ops.convert_to_tensor, spoiled))]
        for got, wanted in zip(outputs, results, strict=True):
            assert_clean(got, wanted, at(wanted, seen if hides else rows.spoiled, rows.spoiled_end))
        if CAN_TRAIN and implementation not in ("reference", "torch_exported"):
            _, gradients = value_and_gradient(lambda *tensors: weighted(case.call(*tensors), weights), *spoiled)
            start_spoiled = rows.spoiled_start & ~rows.reset[:, -1 if reverse else 0]
            for got, wanted in zip(gradients, expected, strict=True):
                assert_clean(got, wanted, at(wanted, seen, start_spoiled, share > 0.0))
    if op_name in ("linear_scan", "log_scan"):
        # What is not finite by the definition is not finite: only a reset forgets it. Infinite logarithms are numbers.
        if op_name == "log_scan":
            spoiled = [np.where(np.isnan(x), x, clean) for x, clean in zip(spoiled, arrays, strict=True)]
        states = case.definition(*(x.astype("float64") for x in spoiled))[: len(outputs) // 2]
        finite, by_definition = (np.all(np.isfinite(x), axis=0) for x in (outputs[: len(states)], states))
        assert not np.any(finite & ~by_definition)


@pytest.mark.parametrize("op_name", SCANS)
def test_one_step_forgets_what_was_before(op_name):
    case = SCANS[op_name](1, BATCH, WIDTH, has_reset=True)
    arrays = [argument.values.astype("float32") for argument in case.arguments()]
    (forgets,) = case.options["reset"].T
    assert 0 < forgets.sum() < BATCH
    spoiled = [*arrays[:-1], np.full_like(arrays[-1], np.nan)]
    results, expected = [as_array(x) for x in case.call(*map(ops.convert_to_tensor, spoiled))], case.definition(*arrays)
    for got, wanted in zip(results, expected, strict=True):
        assert_clean(got, wanted, ~forgets)
        assert np.isnan(got[~forgets]).any(axis=tuple(range(1, got.ndim))).all()
    if CAN_TRAIN:
        weights = [np.where(_rows(forgets, x), draw(random_rows(), *x.shape), 0.0) for x in expected]
        weights = [x.astype("float32") for x in weights]
        spoiled = [*arrays[:-1], np.where(_rows(forgets, arrays[-1]), np.float32(np.nan), arrays[-1])]
        _, gradients = value_and_gradient(lambda *tensors: weighted(case.call(*tensors), weights), *spoiled)
        for got, wanted in zip(gradients, case.gradients(weights, *arrays), strict=True):
            assert_close(got, wanted, "float32", factor=3)


def _rows(mark, like):
    return mark.reshape(-1, *[1] * (like.ndim - 1))


def definition_of_causal_conv(inputs, kernel, start, rows, weights):
    """Outputs and final state, and the gradients for inputs and initial state."""
    taps = len(kernel)
    outputs, into_inputs, into_start = (np.zeros(x.shape) for x in (inputs, inputs, start))
    final = np.zeros(start.shape)
    for b in range(BATCH):
        real = np.flatnonzero(rows.mask[b])
        steps = [("start", k, 0) for k in range(taps - 1)] + [("step", t, rows.documents[b, t]) for t in real]
        places = {"start": (start[b], into_start[b]), "step": (inputs[b], into_inputs[b])}
        for i in range(taps - 1, len(steps)):
            for s in range(taps):
                kind, place, document = steps[i - s]
                if document == steps[i][2]:
                    outputs[b, steps[i][1]] += kernel[taps - 1 - s] * places[kind][0][place]
                    places[kind][1][place] += kernel[taps - 1 - s] * weights[0][b, steps[i][1]]
        for k, (kind, place, document) in enumerate(steps[len(steps) - taps + 1 :]):
            if document == rows.documents[b, -1]:
                final[b, k] = places[kind][0][place]
                places[kind][1][place] += weights[1][b, k]
    return (outputs, final), (into_inputs, into_start)


@pytest.mark.parametrize("taps", [4, 21])
def test_causal_conv(taps):
    rows = random_rows()
    inputs, kernel = draw(rows, BATCH, LENGTH, WIDTH), draw(rows, taps, WIDTH)
    start = draw(rows, BATCH, taps - 1, WIDTH)
    weights = draw(rows, *inputs.shape), draw(rows, *start.shape)
    results, gradients = definition_of_causal_conv(inputs, kernel, start, rows, weights)
    spoiled = [rows.spoil_steps(inputs), rows.spoil(start, rows.spoiled_start)]
    weights = rows.spoil_steps(weights[0]), rows.spoil(weights[1], rows.spoiled_end)
    call = lambda inputs, start: causal_conv(inputs, kernel, None, start, reset=rows.reset, mask=rows.mask)  # noqa: E731
    for got, wanted, where in zip(call(*spoiled), results, (rows.spoiled & rows.mask, rows.spoiled_end), strict=True):
        assert_clean(as_array(got), wanted, where)
    if CAN_TRAIN:
        _, into = value_and_gradient(lambda *tensors: weighted(call(*tensors), weights), *spoiled)
        start_spoiled = rows.spoiled_start & ~rows.reset[:, 0]
        for got, wanted, where in zip(into, gradients, (rows.spoiled & rows.mask, start_spoiled), strict=True):
            assert_clean(got, wanted, where)


def what_lost_queries_see(lost, window, documents, mask):
    """The steps, `(B, T)` bool, whose keys one of the lost queries sees."""
    seen = np.zeros_like(lost)
    for row, step in np.argwhere(lost & mask):
        newest = np.flatnonzero(mask[row, : step + 1])[-window:]
        seen[row, newest[documents[row, newest] == documents[row, step]]] = True
    return seen


#: By a name: an op, its definition with a gradient, and its options.
ATTENTION = {
    **{f"local {w}": (local_attention, attention_reference, {"window": w}) for w in (9, LENGTH)},
    "global": (global_attention, global_reference, {}),
    "strided": (sparse_attention, sparse_reference, {"stride": 4, "pattern": "strided", "summary_steps": 1}),
    "fixed": (sparse_attention, sparse_reference, {"stride": 5, "pattern": "fixed", "summary_steps": 2}),
}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name):
    """With spoiled arrays, and then with spoiled gradients for the outputs of a few steps of any document."""
    rows = random_rows()
    op, definition, options = ATTENTION[name]
    arrays = [draw(rows, BATCH, LENGTH, heads, 4) for heads in (2, 1, 1)]
    options = {"segment_ids": rows.documents.astype("int32"), "mask": rows.mask, **options}
    weights = draw(rows, *arrays[0].shape)
    results = getattr(definition, op.__name__)(*arrays, **options)
    spoiled, seen = [rows.spoil_steps(x) for x in arrays], rows.spoiled & rows.mask
    call = functools.partial(op, **options)
    assert_clean(as_array(call(*spoiled)), results, seen)
    if not CAN_TRAIN:
        return
    gradients = getattr(definition, f"{op.__name__}_gradient")(weights, *arrays, **options)
    spoiled_weights = rows.spoil_steps(weights)
    _, into = value_and_gradient(lambda *tensors: weighted([call(*tensors)], [spoiled_weights]), *spoiled)
    for got, wanted in zip(into, gradients, strict=True):
        assert_clean(got, wanted, seen)


@pytest.mark.trainable
@pytest.mark.parametrize("marks", ["neither", "segments", "mask", "both"])
@pytest.mark.parametrize(("window", "length"), [(9, LENGTH), (9, 40), (LENGTH, LENGTH), (1, LENGTH), (None, 40)])
def test_what_comes_back_to_attention_touches_what_a_query_sees(marks, window, length):
    """Exactly that: nothing else is touched, and nothing of it looks clean. The ids of segments stand in any order."""
    rows = random_rows()
    op = global_attention if window is None else functools.partial(local_attention, window=window)
    window = window or LENGTH
    arrays = [draw(rows, BATCH, steps, heads, 4) for steps, heads in ((length, 2), (LENGTH, 1), (LENGTH, 1))]
    ids = rows.generator.choice(np.array([-(2**31), 3, 2**31 - 1]), (BATCH, LENGTH)).astype("int32")
    mask = rows.mask if marks in ("mask", "both") else None
    segment_ids = ids if marks in ("segments", "both") else None
    options = {"segment_ids": segment_ids, "mask": mask}
    weights = draw(rows, *arrays[0].shape)
    hit = rows.generator.random((BATCH, length)) < 0.05
    hit |= False if mask is None else ~mask[:, -length:]
    wrong = rows.spoil(weights, hit)
    real = np.ones_like(rows.mask) if mask is None else mask
    ids = np.zeros_like(ids) if segment_ids is None else ids

    lost = np.zeros((BATCH, LENGTH), bool)
    lost[:, -length:] = (wrong != weights).any(axis=(2, 3))
    touched = what_lost_queries_see(lost, window, ids, real)
    _, into = value_and_gradient(lambda *x: weighted([op(*x, **options)], [wrong]), *arrays)
    clean_weights = np.where(lost[:, -length:, None, None], 0.0, weights)
    expected = attention_reference.local_attention_gradient(clean_weights, *arrays, window, **options)
    for got, wanted, where in zip(into, expected, ((lost & real)[:, -length:], touched, touched), strict=True):
        assert_clean(got, wanted, where)
        assert np.isnan(got[where]).all()
    assert touched.any() and not touched[real].all()
