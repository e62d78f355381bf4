from dataclasses import dataclass

import keras
import numpy as np
import pytest

from keras_griffin.generation import Greedy, MinP, RepetitionPenalty, Temperature, TopK, TopP
from keras_griffin.generation.samplers import get_sampler

VOCABULARY_SIZE = 50
GRID = ((np.arange(4000) + 0.5) / 4000).astype("float32")
SAMPLERS = [
    Temperature(),
    Temperature(0.3),
    Temperature(4.0),
    TopK(1),
    TopK(7, temperature=2.0),
    TopK(VOCABULARY_SIZE),
    TopK(10 * VOCABULARY_SIZE, temperature=0.5),
    TopP(0.01),
    TopP(0.6),
    TopP(0.9, temperature=3.0),
    TopP(1.0),
    MinP(0.05),
    MinP(0.2, temperature=2.0),
    MinP(1.0),
]


@dataclass
class Changing:
    """A sampler that can't be recognised when it comes again, since its temperature may have changed."""

    temperature: float = 1.0

    def __call__(self, logits, uniform):
        return Temperature(self.temperature)(logits, uniform)


def logits_of(seed):
    return np.random.default_rng(seed).normal(scale=3.0, size=VOCABULARY_SIZE).astype("float32")


def probabilities(sampler, logits):
    """The distribution that a sampler draws from, by its definition, in float64."""
    logits = logits.astype("float64") / sampler.temperature
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    order = np.argsort(-weights, kind="stable")
    kept = len(order)
    if isinstance(sampler, TopK):
        kept = sampler.k
    elif isinstance(sampler, TopP) and sampler.p < 1:
        kept = np.searchsorted(np.cumsum(weights[order]), sampler.p) + 1
    elif isinstance(sampler, MinP):
        kept = np.sum(weights >= sampler.p * weights.max())
    weights[order[kept:]] = 0
    return weights / weights.sum()


def draw(sampler, logits, uniform):
    """The ids that one row of logits gets from many uniform numbers."""
    rows = np.broadcast_to(logits, (len(uniform), len(logits)))
    ids = sampler(keras.ops.convert_to_tensor(rows.copy()), keras.ops.convert_to_tensor(uniform))
    assert keras.backend.standardize_dtype(ids.dtype) == "int32"
    return keras.ops.convert_to_numpy(ids)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_a_uniform_number_chooses_by_the_inverse_of_the_distribution(sampler, seed):
    logits = logits_of(seed)
    expected = probabilities(sampler, logits)
    ends = np.cumsum(expected)
    ids = draw(sampler, logits, GRID)
    assert np.all(expected[ids] > 0)
    # Rounding moves the ends of intervals in the seventh digit; elsewhere the choice is exact.
    clear = np.abs(GRID[:, None] - ends[None]).min(axis=1) > 1e-5
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(ids[clear], np.searchsorted(ends, GRID[clear].astype("float64"), side="right"))
    frequencies = np.bincount(ids, minlength=VOCABULARY_SIZE) / len(GRID)
    np.testing.assert_allclose(frequencies, expected, atol=1.01 / len(GRID))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_the_ends_of_the_unit_interval_choose_the_first_and_the_last_possible_token(sampler):
    logits = logits_of(0)
    possible = np.flatnonzero(probabilities(sampler, logits) > 1e-6)
    ids = draw(sampler, logits, np.array([0.0, 1 - 2.0**-24], "float32"))
    assert ids[0] == np.flatnonzero(probabilities(sampler, logits) > 0)[0]
    assert ids[1] >= possible[-1]


def test_each_row_has_its_own_logits_and_number():
    logits = np.stack([logits_of(seed) for seed in range(5)])
    uniform = GRID[[3, 900, 1800, 2700, 3600]]
    together = TopP(0.8)(logits, uniform)
    alone = [draw(TopP(0.8), row, uniform[i : i + 1])[0] for i, row in enumerate(logits)]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(together), alone)


def test_among_equals_greedy_takes_the_first_and_a_draw_keeps_all():
    assert draw(Greedy(), np.array([0, 3, 1, 3, -2], "float32"), GRID[:1])[0] == 1
    logits = np.array([0, 3, 1, 3, 1, 1], "float32")
    assert set(draw(TopK(1), logits, GRID)) == {1, 3}
    assert set(draw(TopK(3), logits, GRID)) == {1, 2, 3, 4, 5}
    assert set(draw(TopP(0.2), logits, GRID)) == {1, 3}
    assert set(draw(TopP(0.88), logits, GRID)) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("temperature", [1e-30, 1e30])
def test_no_temperature_overflows(temperature):
    logits = logits_of(0)
    ids = draw(Temperature(temperature), logits, GRID)
    if temperature < 1:
        assert set(ids) == {np.argmax(logits)}
    else:
        np.testing.assert_array_equal(np.bincount(ids), len(GRID) // VOCABULARY_SIZE)


def test_logits_of_low_precision_are_drawn_from_in_float32():
    logits = logits_of(1)
    low = keras.ops.cast(keras.ops.convert_to_tensor(logits[None]), "bfloat16")
    exact = keras.ops.convert_to_numpy(keras.ops.cast(low, "float32"))[0]
    for number in GRID[::500]:
        uniform = np.array([number])
        id_of_low = keras.ops.convert_to_numpy(TopP(0.9)(low, keras.ops.convert_to_tensor(uniform)))
        np.testing.assert_array_equal(id_of_low, draw(TopP(0.9), exact, uniform))


def test_a_sampler_is_found_by_name_or_is_itself():
    def custom(logits, uniform):
        return uniform

    names = ("greedy", "temperature", "top_k", "top_p", "min_p")
    found = [get_sampler("generate", sampler) for sampler in (*names, TopK(3), custom)]
    assert found == [Greedy(), Temperature(1.0), TopK(50), TopP(0.9), MinP(0.1), TopK(3), custom]


NAMES = (
    "the sampler must be one of 'greedy', 'temperature', 'top_k', 'top_p', 'min_p', or a sampler such as TopP(0.95) "
    "from keras_griffin.generation"
)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Temperature(0), "Temperature: temperature must be a finite number above 0. Got 0."),
        (lambda: TopK(3, -1.0), "TopK: temperature must be a finite number above 0. Got -1.0."),
        (lambda: TopP(0.5, float("inf")), "TopP: temperature must be a finite number above 0. Got inf."),
        (lambda: MinP(0.5, "hot"), "MinP: temperature must be a finite number above 0. Got 'hot'."),
        (lambda: TopK(0), "TopK: k must be an integer of at least 1. Got 0."),
        (lambda: TopP(0.0), "TopP: p must be above 0 and at most 1. Got 0.0."),
        (lambda: MinP(1.5), "MinP: p must be above 0 and at most 1. Got 1.5."),
        (lambda: get_sampler("generate", "best"), f"generate: {NAMES}. Got 'best'."),
        (lambda: get_sampler("generate", Greedy), f"generate: {NAMES}. Got {Greedy!r}."),
        (
            lambda: RepetitionPenalty(0.9),
            "RepetitionPenalty: penalty must be a finite number of at least 1. Got 0.9.",
        ),
        (
            lambda: RepetitionPenalty(2.0, RepetitionPenalty(2.0)),
            f"RepetitionPenalty: the sampler must not use the history itself. Got {RepetitionPenalty(2.0)!r}.",
        ),
        (
            lambda: get_sampler("generate", Changing()),
            "generate: a sampler must be hashable, as a frozen dataclass is. Got Changing(temperature=1.0).",
        ),
    ],
)
def test_a_wrong_value_gets_one_sentence(make, sentence):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == sentence


def test_a_repetition_penalty_lowers_what_was_met():
    logits = np.array([[2.0, 1.9, -0.1, -0.2], [2.0, 1.9, -0.1, -0.2]], "float32")
    met = np.array([[True, False, False, False], [True, True, True, False]])
    uniform = np.zeros(2, "float32")
    choose = RepetitionPenalty(30.0)
    ids = choose(*(keras.ops.convert_to_tensor(x) for x in (logits, uniform, met)))
    # 2 / 30, 1.9 / 30, -0.1 * 30 in the second row: the first is still the largest.
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ids), [1, 0])
    assert choose == RepetitionPenalty(30.0, Greedy()) and hash(choose) == hash(RepetitionPenalty(30.0))
