"""Every implementation that the active backend can run, against the reference."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, use_implementation
from keras_griffin.ops.implementation import current_facts, find_op
from keras_griffin.ops.linear_scan import reference
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

WIDTH = 4
OP = find_op("linear_scan")
FACTS = current_facts(None, "float32")
AVAILABLE = [row.name for row in OP.implementations if OP.rejection(row, FACTS) is None]
DIFFERENTIABLE = [name for name in AVAILABLE if name != "reference"]


@dataclass(frozen=True)
class Case:
    """One call; its arrays hold the values that its dtype can hold, so that only the op rounds."""

    length: int
    batch_size: int
    is_complex: bool = False
    reverse: bool = False
    reset: bool = False
    mask: bool = False
    dtype: str = "float32"

    def __str__(self):
        words = [name for name in ("is_complex", "reverse", "reset", "mask") if getattr(self, name)]
        return "-".join([f"{self.batch_size}x{self.length}", *words, self.dtype])

    def numbers(self):
        """Decay, inputs and initial state, and the gradients for states and final state."""
        generator = np.random.default_rng(self.length)
        shapes = [(self.batch_size, self.length, WIDTH), (self.batch_size, WIDTH)]

        def normal(shape):
            return generator.normal(size=(1 + self.is_complex, *shape))

        turn = generator.uniform(-np.pi, np.pi, shapes[0])
        size = generator.uniform(0.5, 1.0, shapes[0]) * generator.choice([-1.0, 1.0], shapes[0])
        decay = np.stack([size * np.cos(turn), size * np.sin(turn)]) if self.is_complex else size[None]
        numbers = [decay, normal(shapes[0]), normal(shapes[1]), normal(shapes[0]), normal(shapes[1])]
        return [tuple(as_array(ops.cast(part, self.dtype)) for part in number) for number in numbers]

    def options(self):
        """The other arguments."""
        generator = np.random.default_rng(1)
        reset, mask = generator.random((2, self.batch_size, self.length)) < [[[0.1]], [[0.6]]]
        return {
            "reset": reset if self.reset else None,
            "mask": mask if self.mask else None,
            "reverse": self.reverse,
        }


# Few shapes, since JAX compiles for each.
REAL = [
    Case(1, 3, reset=True),
    Case(2, 1, reverse=True),
    Case(63, 1),
    Case(64, 3, reverse=True, reset=True),
    Case(65, 3),
    Case(65, 3, reverse=True, reset=True, mask=True),
    Case(65, 3, mask=True, dtype="bfloat16"),
]
COMPLEX = [
    Case(1, 3, is_complex=True, mask=True),
    Case(2, 1, is_complex=True),
    Case(65, 3, is_complex=True, reset=True, mask=True),
    Case(65, 3, is_complex=True, reverse=True),
    Case(65, 3, is_complex=True, reverse=True, mask=True, dtype="bfloat16"),
]
# JAX has float64 only as a setting of the whole process.
DOUBLE = [] if FACTS.backend == "jax" else [Case(65, 3, reset=True, dtype="float64")]
CASES = [*REAL, *COMPLEX, *DOUBLE]


def as_number(parts):
    return parts[0].astype("float64") if len(parts) == 1 else parts[0] + 1j * parts[1].astype("float64")


def as_parts(number, count):
    return (number.real, number.imag)[:count]


def as_argument(parts, dtype):
    parts = tuple(ops.cast(part, dtype) for part in parts)
    return parts if len(parts) == 2 else parts[0]


def flat(results):
    """Every part of states and final state."""
    return keras.tree.flatten(results)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", AVAILABLE)
def test_values(name, case):
    decay, inputs, initial_state, *_ = case.numbers()
    expected = reference.definition(as_number(decay), as_number(inputs), as_number(initial_state), **case.options())
    with use_implementation("linear_scan", name):
        results = linear_scan(*(as_argument(x, case.dtype) for x in (decay, inputs, initial_state)), **case.options())
    states, final_state = ([x] if not case.is_complex else x for x in results)
    for actual, part in zip(states, as_parts(expected[0], len(inputs)), strict=True):
        assert_close(actual, part, case.dtype)
    accumulated = "float64" if case.dtype == "float64" else "float32"
    for actual, part in zip(final_state, as_parts(expected[1], len(inputs)), strict=True):
        assert_close(actual, part, accumulated)


@pytest.mark.trainable
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_through_states_and_final_state(name, case):
    decay, inputs, initial_state, states_gradient, final_gradient = case.numbers()
    count = len(inputs)
    expected = reference.linear_scan_gradient(
        *map(as_number, (decay, inputs, initial_state, states_gradient, final_gradient)), **case.options()
    )
    accumulated = "float64" if case.dtype == "float64" else "float32"

    def loss(*parts):
        arguments = [as_argument(parts[i : i + count], case.dtype) for i in range(0, 3 * count, count)]
        results = flat(linear_scan(*arguments, **case.options()))
        weights = (*states_gradient, *final_gradient)
        return sum(
            ops.sum(ops.cast(result, accumulated) * ops.convert_to_tensor(weight, accumulated))
            for result, weight in zip(results, weights, strict=True)
        )

    with use_implementation("linear_scan", name):
        _, gradients = value_and_gradient(loss, *decay, *inputs, *initial_state)
    wanted = [part for number in expected for part in as_parts(number, count)]
    for actual, part in zip(gradients, wanted, strict=True):
        assert_close(actual, part, case.dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_length_known_only_when_the_model_runs(name, reverse):
    """Lengths 5, 2, 1 and 0, one compiled function on TensorFlow."""
    generator = np.random.default_rng(2)
    batches = [
        tuple(
            generator.random(shape).astype("float32") for shape in ((2, length, WIDTH), (2, length, WIDTH), (2, WIDTH))
        )
        for length in (5, 2, 1, 0)
    ]
    symbolic = [keras.Input((None, WIDTH)), keras.Input((None, WIDTH)), keras.Input((WIDTH,))]
    with use_implementation("linear_scan", name):
        model = keras.Model(symbolic, linear_scan(*symbolic, reverse=reverse)[1])
        actual = model.predict(((batch,) for batch in batches), verbose=0)
    expected = [reference.definition(*batch, reverse=reverse)[1] for batch in batches]
    assert_close(actual, np.concatenate(expected))
