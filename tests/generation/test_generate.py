import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.generation import RepetitionPenalty, TopK, TopP
from keras_griffin.generation.generate import generate, prefill, stream
from keras_griffin.testing.closeness import assert_close

PROMPT = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9]])
RAGGED = [[3, 1, 4, 1, 5, 9, 2], [6], [5, 3, 5, 8], [9, 7]]


def states_of(state):
    return [ops.convert_to_numpy(leaf) for leaf in keras.tree.flatten(state)]


def assert_same_state(actual, expected):
    for ours, theirs in zip(states_of(actual), states_of(expected), strict=True):
        assert_close(ours, theirs, "float32")


def test_the_greedy_text_is_that_of_one_pass_without_a_state(model):
    made = generate(model, PROMPT, 6)
    assert made.shape == (3, 11) and made.dtype == "int32"
    likeliest = np.argmax(model.predict(made, verbose=0), axis=-1)
    np.testing.assert_array_equal(made[:, :5], PROMPT)
    np.testing.assert_array_equal(made[:, 5:], likeliest[:, 4:-1])
    assert len(np.unique(made[:, 5:])) > 2, "a text that varies, or nothing is shown"


def test_a_ragged_row_gets_what_it_gets_alone(model):
    together = generate(model, RAGGED, 6)
    assert [row.dtype for row in together] == ["int32"] * 4
    for row, prompt in zip(together, RAGGED, strict=True):
        np.testing.assert_array_equal(row, generate(model, [prompt], 6)[0])
        np.testing.assert_array_equal(row[: len(prompt)], prompt)


@pytest.mark.parametrize("sampler", ["temperature", TopK(4), TopP(0.8, temperature=2.0)], ids=str)
def test_a_sampled_row_depends_on_its_index_and_not_on_other_rows(model, sampler):
    together = generate(model, RAGGED, 6, sampler=sampler, seed=3)
    np.testing.assert_array_equal(together[0], generate(model, RAGGED[:1], 6, sampler=sampler, seed=3)[0])
    for index, row in enumerate(RAGGED):
        among_others = [[0] * 7, [1], [2, 2], [3]]
        among_others[index] = row
        np.testing.assert_array_equal(together[index], generate(model, among_others, 6, sampler=sampler, seed=3)[index])


def test_a_tensor_an_array_and_a_list_get_the_same(fake):
    expected = generate(fake, PROMPT, 3)
    np.testing.assert_array_equal(generate(fake, ops.convert_to_tensor(PROMPT), 3), expected)
    from_list = generate(fake, PROMPT.tolist(), 3)
    assert isinstance(from_list, list)
    np.testing.assert_array_equal(np.stack(from_list), expected)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_going_on_from_a_state_equals_one_run(model, cut):
    _, state = generate(model, PROMPT[:, :cut], 0, return_state=True)
    made, state = generate(model, PROMPT[:, cut:], 4, state=state, return_state=True)
    whole, state_of_whole = generate(model, PROMPT, 4, return_state=True)
    np.testing.assert_array_equal(made, whole[:, cut:])
    assert_same_state(state, state_of_whole)


def test_a_given_state_stays_valid(fake):
    _, state = generate(fake, PROMPT, 1, return_state=True)
    before = states_of(state)
    one, another = (generate(fake, PROMPT[:, :1], 4, state=state) for _ in range(2))
    np.testing.assert_array_equal(one, another)
    for kept, copied in zip(states_of(state), before, strict=True):
        np.testing.assert_array_equal(kept, copied)


def test_a_seed_repeats_and_no_seed_does_not(fake):
    first, again, other = (generate(fake, PROMPT, 12, sampler="temperature", seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    fresh = [generate(fake, PROMPT, 12, sampler="temperature") for _ in range(2)]
    assert np.any(fresh[0] != fresh[1])


SCRIPT = [[4, 7, 5, 5, 5, 5], [6, 6, 6, 7, 5, 5], [4, 4, 8, 4, 4, 4]]


def test_rows_end_with_their_stop_id(script):
    model = script(SCRIPT)
    made, state = generate(model, np.ones((3, 1), "int32"), 6, stop_ids=[7, 8], return_state=True)
    np.testing.assert_array_equal(made, [[1, 4, 7, 0, 0, 0, 0], [1, 6, 6, 6, 7, 0, 0], [1, 4, 4, 8, 0, 0, 0]])
    # The state has read the stop ids, and none of the fill.
    np.testing.assert_array_equal(ops.convert_to_numpy(state.tokens), [3, 5, 4])
    made, state = generate(model, [[1]] * 3, 6, stop_ids={7, 8}, return_state=True)
    assert [row.tolist() for row in made] == [[1, 4, 7], [1, 6, 6, 6, 7], [1, 4, 4, 8]]
    np.testing.assert_array_equal(ops.convert_to_numpy(state.tokens), [3, 5, 4])


def test_a_stopped_row_changes_nothing_for_the_others(fake):
    free = generate(fake, RAGGED, 8)
    stop_id = int(free[0][len(RAGGED[0])])
    stopped = generate(fake, RAGGED, 8, stop_ids=[stop_id])
    for row, prompt, whole in zip(stopped, RAGGED, free, strict=True):
        np.testing.assert_array_equal(row, whole[: len(row)])
        new = row[len(prompt) :].tolist()
        assert new.index(stop_id) == len(new) - 1 if stop_id in new else len(new) == 8


def test_a_stream_gives_the_tokens_of_generate(fake):
    made = generate(fake, RAGGED, 6, sampler=TopP(0.9), seed=1)
    tokens = list(stream(fake, RAGGED, 6, sampler=TopP(0.9), seed=1))
    assert all(step.shape == (4,) and step.dtype == "int32" for step in tokens)
    for index, row in enumerate(RAGGED):
        assert [int(step[index]) for step in tokens] == made[index][len(row) :].tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be an integer of at least 0. Got -1."),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be an integer of at least 0. Got 2.0."),
        ({"prompt": [[11]]}, "the ids of the prompt must be at least 0 and below the vocabulary's size 11. Got 11."),
        ({"max_new_tokens": True}, "max_new_tokens must be an integer of at least 0. Got True."),
        ({"prompt": None}, "the prompt must be (B, T) ids or a list of rows of ids. Got None."),
        ({"prompt": {1: 2}}, "the prompt must be (B, T) ids or a list of rows of ids. Got {1: 2}."),
        ({"seed": True}, "the seed must be None or an integer from 0 to 2**64 - 1. Got True."),
        ({"stop_ids": [11]}, "stop_ids must be at least 0 and below the vocabulary's size 11. Got 11."),
        (
            {"state": lambda state: type(state)(*(leaf[:2] for leaf in state))},
            "the state must have one row for each row of the prompt. Got a state of 2 and a prompt of 3.",
        ),
        (
            {"state": lambda state: (1, 2, 3)},
            "the state must be one of this model. Got one whose 3 tensors do not match the 3 of this model's "
            "FakeState.",
        ),
        (
            {"state": lambda state: state._replace(last=None)},
            "the state must be one of this model. Got one whose last is not a tensor but None.",
        ),
    ],
)
@pytest.mark.parametrize("function", [generate, stream])
def test_a_wrong_argument_gets_one_sentence_at_the_call(fake, function, change, sentence):
    if "state" in change:
        change = {"state": change["state"](fake.initial_state(3))}
    with pytest.raises(ValueError) as error:
        function(fake, **{"prompt": PROMPT, "max_new_tokens": 2, **change})
    assert str(error.value) == f"{function.__name__}: {sentence}"


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("sampler", "found"),
    [
        (lambda logits, uniform: ops.argmax(logits, axis=-1)[:, None], "int32 of shape (3, 1)"),
        (lambda logits, uniform: uniform, "float32 of shape (3,)"),
        (lambda logits, uniform: [1, 2, 3], "list"),
    ],
)
@pytest.mark.parametrize("function", [generate, stream])
def test_a_sampler_that_gives_no_ids_is_refused_at_the_call(fake, function, sampler, found):
    with pytest.raises(ValueError) as error:
        function(fake, PROMPT, 2, sampler=sampler)
    rule = f"{function.__name__}: a sampler must return one integer for each row, shape (3,)."
    assert str(error.value).replace("int64", "int32") == f"{rule} Got {found} from {sampler!r}."


@pytest.mark.parametrize("chosen", [99, -1])
def test_an_id_outside_the_vocabulary_is_refused(fake, chosen):
    def sampler(logits, uniform):
        return ops.full((len(logits),), chosen, "int32")

    with pytest.raises(ValueError) as error:
        generate(fake, PROMPT, 2, sampler=sampler)
    assert str(error.value) == f"generate: a sampler must choose ids from 0 to 10. Got {chosen} from {sampler!r}."
    with pytest.raises(ValueError, match="^stream: a sampler must choose ids from 0 to 10. Got "):
        next(stream(fake, PROMPT, 2, sampler=sampler))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch alone would record constants")
@pytest.mark.parametrize(
    ("best", "reader"),
    [
        (lambda logits: ops.convert_to_tensor(ops.convert_to_numpy(logits).argmax(-1)), "__array__"),
        (lambda logits: ops.argmax(logits if ops.max(logits) > 0 else -logits, axis=-1), "__bool__"),
        (lambda logits: ops.argmax(logits / float(ops.max(logits)), axis=-1), "__float__"),
    ],
)
def test_a_sampler_that_reads_values_is_refused_where_it_would_be_recorded(fake, best, reader):
    def sampler(logits, uniform):
        return best(logits)

    with pytest.raises(ValueError, match=f"^generate: a sampler must compute with tensors alone, .*{reader}.$"):
        generate(fake, PROMPT, 2, sampler=sampler)


def test_prefill_speaks_in_its_own_name(fake):
    with pytest.raises(ValueError, match=r"^prefill: the prompt must have at least one row\. Got none\.$"):
        prefill(fake, [])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_repetition_penalty_counts_the_prompt_and_what_was_made(model, streamed):
    sampler = RepetitionPenalty(1.5)
    if streamed:
        made = np.stack([*PROMPT.T, *stream(model, PROMPT, 6, sampler=sampler)], axis=1)
    else:
        made = generate(model, PROMPT, 6, sampler=sampler)
    logits = model.predict(made, verbose=0)
    for row, row_logits in zip(made, logits, strict=True):
        for place in range(PROMPT.shape[1], made.shape[1]):
            z, met = row_logits[place - 1].copy(), np.unique(row[:place])
            z[met] = np.where(z[met] > 0, z[met] / 1.5, z[met] * 1.5)
            assert row[place] == np.argmax(z)
    assert np.any(made != generate(model, PROMPT, 6))
    np.testing.assert_array_equal(
        generate(model, RAGGED, 4, sampler=RepetitionPenalty(1.0))[2], generate(model, RAGGED, 4)[2]
    )
