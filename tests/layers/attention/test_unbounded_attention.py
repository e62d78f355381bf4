"""The state of attention that keeps all keys; `tests/mixers/test_attention.py` has the values."""

import numpy as np
import pytest

from keras_griffin.generation.capacity import at_the_same_capacity
from keras_griffin.layers.attention.unbounded_attention import UnboundedAttention
from keras_griffin.mixers import GlobalMQA, SparseMQA
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled

INPUTS = np.random.default_rng(0).normal(size=(2, 9, 12)).astype("float32")
EVERY_KIND = pytest.mark.parametrize(
    "make",
    [
        lambda: GlobalMQA(3, rotary_base=100.0),
        lambda: SparseMQA(3, 3, rotary_base=100.0),
        lambda: SparseMQA(3, 3, "fixed", 1, rotary_base=100.0),
    ],
    ids=["global", "strided", "fixed"],
)


def made(mixer):
    mixer.build((None, None, 12))
    for i, weight in enumerate(mixer.weights):
        weight.assign(np.random.default_rng(i).normal(size=weight.shape) * 0.5)
    return mixer


@pytest.mark.parametrize("sizes", [[1] * 9, [4, 1, 3, 1]])
@EVERY_KIND
def test_pieces_leave_the_keys_that_are_there_as_they_are(make, sizes):
    """What a document has read is not rotated again, and a new document counts its positions from 0."""
    mixer = made(make())
    reset = np.zeros((2, 9), "bool")
    reset[1, 5] = True
    advance = compiled(mixer.advance)
    outputs, state = [], mixer.initial_state(2)
    for chunk, new in zip(*(np.split(x, np.cumsum(sizes)[:-1], axis=1) for x in (INPUTS, reset)), strict=True):
        before = as_array(state.keys)
        output, state = advance(chunk, state, reset=new if new.any() else None)
        kept = as_array(state[2])[:, : before.shape[1]].astype(bool)
        np.testing.assert_array_equal(as_array(state.keys)[:, : before.shape[1]][kept], before[kept])
        outputs.append(as_array(output))
    call = compiled(mixer)
    expected = as_array(call(INPUTS)).copy()
    expected[1, 5:] = as_array(call(INPUTS[1:, 5:]))[0]
    assert_close(np.concatenate(outputs, axis=1), expected)


@EVERY_KIND
def test_a_step_writes_to_an_empty_place_of_a_state_with_room(make):
    mixer = made(make())
    advance = compiled(mixer.advance)
    _, grown = advance(INPUTS[:, :2], mixer.initial_state(2))
    # The second row has an empty place more, as where rows of several lengths are joined.
    _, grown = advance(INPUTS[:, 2:3], grown, mask=np.array([[True], [False]]))
    state = grown.with_room(7)
    for start, stop, resets in ((3, 4, ()), (4, 5, ()), (5, 7, [6]), (7, 8, ()), (8, 9, ())):
        reset = np.isin(np.arange(start, stop), resets)[None].repeat(2, axis=0) if resets else None
        expected, grown = advance(INPUTS[:, start:stop], grown, reset=reset)
        outputs, after = advance(INPUTS[:, start:stop], state, reset=reset)
        assert after.keys.shape[1] == 10 + (stop - start if stop - start > 1 else 0)
        state = at_the_same_capacity(after, state)
        assert type(state) is mixer.room_type
        assert_close(outputs, as_array(expected))
    assert (as_array(state[2]) > 0).sum(axis=1).tolist() == [3, 3]
    # Without its room it grows again, and its keys are the same but for their order.
    left = state.without_room(7)
    assert left.keys.shape[1] == 3
    np.testing.assert_allclose(
        np.sort(as_array(left.keys), axis=1), np.sort(as_array(grown.keys)[:, -3:], axis=1), atol=1e-6
    )
    # By one step, and by several, whose pattern asks for the order of the keys.
    for steps in (1, 4):
        outputs, longer = advance(INPUTS[:, :steps], left)
        assert longer.keys.shape[1] == 3 + steps and type(longer) is type(grown)
        assert_close(outputs, as_array(advance(INPUTS[:, :steps], grown)[0]))


@pytest.mark.any_backend
@pytest.mark.parametrize(("name", "arguments"), [("attend", 5), ("marks_of", 2), ("seen_by", 2)])
def test_what_a_subclass_defines(name, arguments):
    with pytest.raises(NotImplementedError, match=rf"^{name}: UnboundedAttention must define it\.$"):
        getattr(UnboundedAttention(2), name)(*[None] * arguments)


@pytest.mark.trainable
def test_a_model_with_sparse_attention_trains_and_generates():
    """What it generates is what the whole text says, from a state that grew in pieces and step by step."""
    options = {
        "sparse_mqa": {"stride": 3},
        "fixed": {"mixer": "sparse_mqa", "stride": 4, "pattern": "fixed", "summary_steps": 2},
    }
    config = GriffinConfig(11, 16, 2, 2, block_pattern=("sparse_mqa", "fixed"), mixer_options=options)
    model = LanguageModel(config)
    tokens = np.random.default_rng(0).integers(1, 11, (4, 20)).astype("int32")
    model.compile("adam", loss=model.loss, run_eagerly=False)
    losses = [model.train_on_batch(tokens[:, :-1], tokens[:, 1:]) for _ in range(8)]
    assert losses[-1] < losses[0]
    whole = model.generate(tokens[:2, :7], 12)
    np.testing.assert_array_equal(whole[:, 7:], as_array(compiled(model)(whole))[:, 6:-1].argmax(-1))
