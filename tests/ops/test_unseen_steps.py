"""What a step does not see touches none of its numbers, forward or backward, be it NaN, infinite or close to it.

Random documents, resets and masks. Some documents, all masked steps and, before a reset at the first step, the initial
state are spoiled; what the others give is compared with the definition on clean data.
"""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import (
    causal_conv,
    explain,
    linear_scan,
    local_attention,
    log_scan,
    rg_lru,
    selective_scan,
    use_implementation,
)
from keras_griffin.ops.linear_scan import reference as scan_reference
from keras_griffin.ops.local_attention import reference as attention_reference
from keras_griffin.ops.log_scan import reference as log_reference
from keras_griffin.ops.rg_lru import reference as unit_reference
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs
from keras_griffin.ops.selective_scan import reference as selective_reference
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
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


def draw(rows, *shape, is_complex=False):
    number = rows.generator.normal(size=shape).astype("float32")
    return number + 1j * draw(rows, *shape) if is_complex else number


def parts(number):
    return [number.real, number.imag] if np.iscomplexobj(number) else [number]


def spoil(function, number):
    """A function that spoils, at every part of a number."""
    return [function(part.astype("float32")) for part in parts(number)]


def pair(tensors):
    return tuple(tensors) if len(tensors) == 2 else tensors[0]


def as_number(tensors):
    """A real or complex array in double precision. Not by a sum: infinity times i is NaN in NumPy."""
    tensors = tensors if isinstance(tensors, (tuple, list)) else [tensors]
    stacked = np.stack([as_array(x).astype("float64") for x in tensors], axis=-1)
    return (stacked.view("complex128") if len(tensors) == 2 else stacked)[..., 0]


def assert_clean(actual, expected, spoiled):
    """Fail unless they are close where nothing is spoiled, `(B,)` or `(B, T)`."""
    clean = ~spoiled.reshape(spoiled.shape + (1,) * (expected.ndim - spoiled.ndim))
    for one, other in zip(parts(actual), parts(expected), strict=True):
        assert_close(np.where(clean, one, 0.0), np.where(clean, other, 0.0), "float32", factor=3)


def weighted(results, weights):
    """A scalar loss."""
    total = 0.0
    for result, weight in zip(results, weights, strict=True):
        tensors = result if isinstance(result, tuple) else [result]
        for tensor, factor in zip(tensors, weight, strict=True):
            total = total + ops.sum(tensor * ops.convert_to_tensor(factor))
    return total


def split(tensors, like):
    """Flat tensors as lists of parts, as `like` has them."""
    tensors = iter(tensors)
    return [[next(tensors) for _ in number] for number in like]


def judge(implementation, op_name, rows, call, numbers, weights, expected):
    """Compare a scan's results and its gradients for `numbers` with those on clean data.

    Args:
        implementation: its name.
        op_name: `linear_scan`, `log_scan` or `rg_lru`.
        rows: marks and documents.
        call: results from lists of parts, one list for each of the numbers.
        numbers: lists of parts, spoiled.
        weights: the gradients for states and final state, spoiled where documents are.
        expected: states, final state, and the gradients for the numbers; each with `(B,)` or `(B, T)`, what of it is
            spoiled.
    """
    with use_implementation(op_name, implementation):
        results = call(*split(map(ops.convert_to_tensor, sum(numbers, [])), numbers))
        assert_clean(as_number(results[0]), *expected[0])
        assert_clean(as_number(results[1]), *expected[1])
        if not CAN_TRAIN or implementation == "reference":
            return results
        loss = lambda *tensors: weighted(call(*split(tensors, numbers)), weights)  # noqa: E731
        _, gradients = value_and_gradient(loss, *sum(numbers, []))
    for got, (wanted, spoiled) in zip(split(gradients, numbers), expected[2:], strict=True):
        assert_clean(as_number(got), wanted, spoiled)
    return results


@pytest.mark.parametrize(
    ("implementation", "is_complex", "reverse"),
    [*((name, True, True) for name in runnable("linear_scan")), (explain("linear_scan").chosen, False, False)],
)
def test_linear_scan(implementation, is_complex, reverse):
    rows = random_rows(reverse)
    shape, options = (BATCH, LENGTH, WIDTH), {"is_complex": is_complex}
    decay = rows.generator.uniform(0.3, 0.9, shape).astype("float32") * (np.exp(1j) if is_complex else 1.0)
    inputs, start = draw(rows, *shape, **options), draw(rows, BATCH, WIDTH, **options)
    weights = draw(rows, *shape, **options), draw(rows, BATCH, WIDTH, **options)
    flags = {"reset": rows.reset, "mask": rows.mask, "reverse": reverse}
    states = scan_reference.definition(decay, inputs, start, **flags)
    gradients = scan_reference.linear_scan_gradient(decay, inputs, start, *weights, **flags)

    seen = rows.spoiled & rows.mask
    start_gradient_spoiled = rows.spoiled_start & ~rows.reset[:, -1 if reverse else 0]
    spoiled = [spoil(rows.spoil_steps, decay), spoil(rows.spoil_steps, inputs)]
    spoiled.append(spoil(lambda x: rows.spoil(x, rows.spoiled_start), start))
    spoiled_weights = (
        spoil(lambda x: rows.spoil(x, rows.spoiled), weights[0]),
        spoil(lambda x: rows.spoil(x, rows.spoiled_end), weights[1]),
    )
    expected = [
        *zip(states, (rows.spoiled, rows.spoiled_end), strict=True),
        *zip(gradients, (seen, seen, start_gradient_spoiled), strict=True),
    ]
    call = lambda *numbers: linear_scan(*map(pair, numbers), **flags)  # noqa: E731
    results = judge(implementation, "linear_scan", rows, call, spoiled, spoiled_weights, expected)
    # What is not finite by the definition is not finite: only a reset forgets it.
    definition = scan_reference.definition(*map(as_number, spoiled), **flags)[0]
    assert not np.any(np.isfinite(as_number(results[0])) & ~np.isfinite(definition))


@pytest.mark.parametrize("implementation", runnable("log_scan"))
def test_log_scan(implementation):
    rows = random_rows()
    shape = BATCH, LENGTH, WIDTH
    decay, inputs = rows.generator.uniform(-1.0, 0.0, shape).astype("float32"), draw(rows, *shape)
    start, weights = draw(rows, BATCH, WIDTH), (draw(rows, *shape), draw(rows, BATCH, WIDTH))
    flags = {"reset": rows.reset, "mask": rows.mask}
    states = log_reference.definition(decay, inputs, start, **flags)
    gradients = log_reference.log_scan_gradient(decay, inputs, start, *weights, **flags)

    seen = rows.spoiled & rows.mask
    spoiled = [[rows.spoil_steps(decay)], [rows.spoil_steps(inputs)], [rows.spoil(start, rows.spoiled_start)]]
    spoiled_weights = [rows.spoil(weights[0], rows.spoiled)], [rows.spoil(weights[1], rows.spoiled_end)]
    expected = [
        *zip(states, (rows.spoiled, rows.spoiled_end), strict=True),
        *zip(gradients, (seen, seen, rows.spoiled_start & ~rows.reset[:, 0]), strict=True),
    ]
    call = lambda *numbers: log_scan(*(x for (x,) in numbers), **flags)  # noqa: E731
    results = judge(implementation, "log_scan", rows, call, spoiled, spoiled_weights, expected)
    # NaN stays until a reset forgets it.
    definition = log_reference.definition(*(as_number(x) for (x,) in spoiled), **flags)[0]
    assert not np.any(np.isfinite(as_number(results[0])) & np.isnan(definition))


@pytest.mark.parametrize(
    ("implementation", "is_complex", "reverse", "share"),
    [
        *((name, False, False, 0.5) for name in runnable("rg_lru")),
        (explain("rg_lru").chosen, True, True, 0.5),
        # No document is spoiled, only what none sees: the gradients for weights are to be right as well.
        (explain("rg_lru").chosen, True, False, 0.0),
    ],
)
def test_rg_lru(implementation, is_complex, reverse, share):
    rows = random_rows(reverse, share)
    shape, options = (BATCH, LENGTH, WIDTH), {"is_complex": is_complex}
    inputs, start = draw(rows, *shape, **options), draw(rows, BATCH, WIDTH, **options)
    weights = draw(rows, *shape, **options), draw(rows, BATCH, WIDTH, **options)
    logits, channels = [draw(rows, *shape) for _ in range(2)], [2.0 + draw(rows, WIDTH)]
    channels += [0.5 * draw(rows, WIDTH)] if is_complex else []
    flags = {"reset": rows.reset, "mask": rows.mask, "reverse": reverse}
    unit = GatedScanInputs(inputs, *logits, *(channels if is_complex else [*channels, None]))
    states = unit_reference.definition(unit, start, 4.0, **flags)
    into, into_start = unit_reference.rg_lru_gradient(unit, start, 4.0, weights, **flags)

    seen, weights_spoiled = rows.spoiled & rows.mask, np.full(WIDTH, share > 0.0)
    start_gradient_spoiled = rows.spoiled_start & ~rows.reset[:, -1 if reverse else 0]
    spoiled = [spoil(rows.spoil_steps, inputs), *(spoil(rows.spoil_steps, x) for x in logits)]
    spoiled += [[x] for x in channels] + [spoil(lambda x: rows.spoil(x, rows.spoiled_start), start)]
    spoiled_weights = (
        spoil(lambda x: rows.spoil(x, rows.spoiled), weights[0]),
        spoil(lambda x: rows.spoil(x, rows.spoiled_end), weights[1]),
    )
    expected = [
        *zip(states, (rows.spoiled, rows.spoiled_end), strict=True),
        *((gradient, seen) for gradient in into[:3]),
        *((gradient, weights_spoiled) for gradient in into[3 : 3 + len(channels)]),
        (into_start, start_gradient_spoiled),
    ]

    def call(inputs, first, second, *rest, flags=flags):
        *channels, start = rest
        phase = channels[1][0] if len(channels) == 2 else None
        return rg_lru(
            pair(inputs), first[0], second[0], channels[0][0], pair(start), phase=phase, exponent=4.0, **flags
        )

    judge(implementation, "rg_lru", rows, call, spoiled, spoiled_weights, expected)


@pytest.mark.parametrize(
    ("implementation", "share"),
    # With no document spoiled, the gradient for the rates is to be right as well.
    [*((name, 0.5) for name in runnable("selective_scan")), (explain("selective_scan").chosen, 0.0)],
)
def test_selective_scan(implementation, share):
    rows, numbers = random_rows(share=share), 2
    sizes = rows.generator.uniform(0.1, 0.9, (BATCH, LENGTH, WIDTH)).astype("float32")
    rates = -rows.generator.uniform(0.3, 2.0, (WIDTH, numbers)).astype("float32")
    inputs, b, c = draw(rows, *sizes.shape), *(draw(rows, BATCH, LENGTH, numbers) for _ in range(2))
    start = draw(rows, BATCH, WIDTH, numbers)
    weights = draw(rows, *sizes.shape), draw(rows, *start.shape)
    flags = {"reset": rows.reset, "mask": rows.mask}
    selection = SelectiveScanInputs(inputs, sizes, rates, b, c)
    outputs, final_state = selective_reference.definition(selection, start, **flags)
    into, into_start = selective_reference.selective_scan_gradient(selection, start, weights, **flags)

    seen, rates_spoiled = rows.spoiled & rows.mask, np.full(WIDTH, share > 0.0)
    start_gradient_spoiled = rows.spoiled_start & ~rows.reset[:, 0]
    spoiled = [[x if x is rates else rows.spoil_steps(x)] for x in selection]
    spoiled += [[rows.spoil(start, rows.spoiled_start)]]
    spoiled_weights = [rows.spoil_steps(weights[0])], [rows.spoil(weights[1], rows.spoiled_end)]
    expected = [
        *((outputs, seen), (final_state, rows.spoiled_end)),
        *((gradient, rates_spoiled if gradient is into.rates else seen) for gradient in into),
        (into_start, start_gradient_spoiled),
    ]

    def call(*numbers):
        return selective_scan(*(number[0] for number in numbers), **flags)

    judge(implementation, "selective_scan", rows, call, spoiled, spoiled_weights, expected)


@pytest.mark.parametrize("op_name", ["linear_scan", "log_scan", "rg_lru"])
def test_one_step_forgets_what_was_before(op_name):
    sequence, start = np.full((2, 1, 3), 0.5, "float32"), np.full((2, 3), np.nan, "float32")
    reset = np.array([[True], [False]])
    more = [sequence, sequence[0, 0]] if op_name == "rg_lru" else []

    def call(start, *tensors):
        function = {"linear_scan": linear_scan, "log_scan": log_scan, "rg_lru": rg_lru}[op_name]
        return function(*tensors, start, reset=reset)[0]

    states = as_array(call(start, sequence, sequence, *more))
    assert np.all(np.isfinite(states[0])) and np.all(np.isnan(states[1]))
    if CAN_TRAIN:
        loss = lambda *tensors: ops.sum(call(*tensors)[0])  # noqa: E731
        _, gradients = value_and_gradient(loss, start, sequence, sequence, *more)
        into_start, *into_sequences = (x[0] for x in gradients if x.ndim > 1)
        assert not np.any(into_start) and all(np.all(np.isfinite(x)) for x in into_sequences)


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


def test_causal_conv():
    rows = random_rows()
    inputs, kernel, start = draw(rows, BATCH, LENGTH, WIDTH), draw(rows, 4, WIDTH), draw(rows, BATCH, 3, WIDTH)
    weights = draw(rows, *inputs.shape), draw(rows, *start.shape)
    results, gradients = definition_of_causal_conv(inputs, kernel, start, rows, weights)
    spoiled = [rows.spoil_steps(inputs), rows.spoil(start, rows.spoiled_start)]
    weights = [rows.spoil(weights[0], rows.spoiled | ~rows.mask)], [rows.spoil(weights[1], rows.spoiled_end)]
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


@pytest.mark.parametrize("window", [9, LENGTH])
def test_local_attention(window):
    """With spoiled arrays, and then with spoiled gradients for the outputs of a few steps of any document."""
    rows = random_rows()
    arrays = [draw(rows, BATCH, LENGTH, heads, 4) for heads in (2, 1, 1)]
    marks = {"segment_ids": rows.documents.astype("int32"), "mask": rows.mask}
    weights = draw(rows, *arrays[0].shape)
    results = attention_reference.local_attention(*arrays, window, **marks)
    spoiled, seen = [rows.spoil_steps(x) for x in arrays], rows.spoiled & rows.mask
    call = lambda *tensors: local_attention(*tensors, window, **marks)  # noqa: E731
    assert_clean(as_array(call(*spoiled)), results, seen)
    if not CAN_TRAIN:
        return
    gradients = attention_reference.local_attention_gradient(weights, *arrays, window, **marks)
    spoiled_weights = rows.spoil_steps(weights)
    _, into = value_and_gradient(lambda *tensors: weighted([call(*tensors)], [[spoiled_weights]]), *spoiled)
    for got, wanted in zip(into, gradients, strict=True):
        assert_clean(got, wanted, seen)


@pytest.mark.trainable
@pytest.mark.parametrize("marks", ["neither", "segments", "mask", "both"])
@pytest.mark.parametrize(("window", "length"), [(9, LENGTH), (9, 40), (LENGTH, LENGTH), (1, LENGTH)])
def test_what_comes_back_to_attention_touches_what_a_query_sees(marks, window, length):
    """Exactly that: nothing else is touched, and nothing of it looks clean. The ids of segments stand in any order."""
    rows = random_rows()
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
    _, into = value_and_gradient(lambda *x: weighted([local_attention(*x, window, **options)], [[wrong]]), *arrays)
    clean_weights = np.where(lost[:, -length:, None, None], 0.0, weights)
    expected = attention_reference.local_attention_gradient(clean_weights, *arrays, window, **options)
    for got, wanted, where in zip(into, expected, ((lost & real)[:, -length:], touched, touched), strict=True):
        assert_clean(got, wanted, where)
        assert np.isnan(got[where]).all()
    assert touched.any() and not touched[real].all()
