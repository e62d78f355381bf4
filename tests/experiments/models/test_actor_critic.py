import keras
import numpy as np
import pytest
from keras import ops

from experiments.data.t_maze import FEATURES, TURNS, TMaze
from experiments.models import actor_critic
from experiments.models.actor_critic import Agent, Policy, Rollout, actor_critic_loss, returns, targets, walk
from experiments.models.lstm_mixer import LSTMMixer
from keras_griffin.mixers import RecurrentBlock

MIXERS = {"recurrent": lambda: RecurrentBlock(8), "lstm": LSTMMixer}


def agent_of(kind, has_resets=False, rate=1e-2):
    policy = Policy([MIXERS[kind]()], 8, 12, TURNS, has_resets)
    return Agent(policy, FEATURES, keras.optimizers.Adam(rate), jit_compile=keras.backend.backend() == "jax")


def made_up(rewards, is_junction, outputs=None):
    """A rollout of which only what counts for the targets is given."""
    rewards, is_junction = np.array(rewards, "float64"), np.array(is_junction, bool)
    nothing = np.zeros(rewards.shape)
    outputs = np.zeros((*rewards.shape, TURNS + 1)) if outputs is None else outputs
    return Rollout([], nothing, nothing, is_junction, nothing, outputs, nothing, rewards)


@pytest.mark.any_backend
def test_a_return_is_the_discounted_reward_to_the_end_of_the_episode(monkeypatch):
    monkeypatch.setattr(actor_critic, "DISCOUNT", 0.5)
    found = returns(made_up([[0, 0, 1, 0, -1, 0, 0]], [[0, 0, 1, 0, 1, 0, 0]]), np.array([8.0]))
    assert found.tolist() == [[0.25, 0.5, 1, -0.5, -1, 2, 4]]


@pytest.mark.any_backend
def test_only_junctions_have_a_weight_and_its_mean_is_one():
    outputs = np.full((2, 3, TURNS + 1), 0.25)
    rollout = made_up(np.zeros((2, 3)), [[0, 1, 0], [1, 1, 0]], outputs)
    _, weights, advantages, found = targets(rollout, np.ones((2, 3))).transpose(2, 0, 1)
    assert weights.tolist() == [[0, 2, 0], [2, 2, 0]]
    assert (advantages == 0.75).all() and (found == 1).all()
    assert not targets(made_up([[0.0]], [[0]]), np.ones((1, 1)))[..., 1].any()


def test_the_loss_is_its_equation():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(2, 3, 3)).astype("float32")
    given = rng.normal(size=(2, 3, 4)).astype("float32")
    given[..., 0] = rng.integers(2, size=(2, 3))
    found = ops.convert_to_numpy(actor_critic_loss(ops.convert_to_tensor(given), ops.convert_to_tensor(outputs)))
    for place in np.ndindex(2, 3):
        turn, weight, advantage, goal = given[place]
        p = np.exp(outputs[place][:2]) / np.exp(outputs[place][:2]).sum()
        gain = advantage * np.log(p[int(turn)]) - 0.01 * (p * np.log(p)).sum()
        np.testing.assert_allclose(found[place], 0.5 * (goal - outputs[place][2]) ** 2 - weight * gain, rtol=1e-4)


@pytest.mark.trainable
@pytest.mark.parametrize(("kind", "has_resets"), [("recurrent", True), ("recurrent", False), ("lstm", False)])
def test_a_rollout_read_at_once_gives_what_it_gave_step_by_step_and_only_resets_forget(kind, has_resets):
    agent, maze = agent_of(kind, has_resets), TMaze(3, (2, 3, 4), np.random.default_rng(0))
    state = agent.policy.initial_state(3)
    _, state = walk(agent, maze, state, 5, lambda logits: logits.argmax(axis=-1))
    rollout, after = walk(agent, maze, state, 9, lambda logits: logits.argmax(axis=-1))
    outputs, *whole = agent.actor.predict_on_batch([rollout.seen, rollout.is_start, *rollout.state])
    np.testing.assert_allclose(outputs, rollout.outputs, rtol=1e-4, atol=1e-5)
    for one, other in zip(whole, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert rollout.is_start[:, 1:].any(axis=1).all() and not rollout.is_start[:, 0].all()
    # Another past changes what follows in the same episode, and with resets nothing else.
    other, *_ = agent.actor.predict_on_batch(
        [rollout.seen, rollout.is_start, *(leaf + 1 if leaf.dtype.kind == "f" else leaf for leaf in rollout.state)]
    )
    differs, begun = np.abs(other - outputs).max(axis=-1) > 1e-6, rollout.is_start.cumsum(axis=1) > 0
    assert differs[~begun].all() and differs[begun].any() != has_resets


@pytest.mark.trainable
def test_learning_makes_a_rewarded_turn_likelier_and_values_truer():
    agent, rng = agent_of("lstm", rate=3e-2), np.random.default_rng(0)
    is_junction = rng.random((8, 12)) < 0.3
    # Each turn was to the right, and each at a junction is rewarded.
    rollout = made_up(is_junction, is_junction)._replace(
        state=agent.policy.initial_state(8),
        seen=rng.random((8, 12, FEATURES)).astype("float32"),
        is_start=np.roll(is_junction, 1, axis=1),
        turns=np.ones((8, 12)),
    )

    def measured():
        outputs, *_ = agent.actor.predict_on_batch([rollout.seen, rollout.is_start, *rollout.state])
        logits, values = outputs[is_junction][:, :2], outputs[is_junction][:, 2]
        return (logits[:, 1] - logits[:, 0]).mean(), ((values - 1) ** 2).mean()

    before = measured()
    for _ in range(5):
        agent.learn(rollout, np.zeros(8))
    after = measured()
    assert after[0] > before[0] and after[1] < before[1]


def test_an_lstm_refuses_a_reset():
    mixer, inputs = LSTMMixer(), np.zeros((1, 2, 4), "float32")
    mixer.build(inputs.shape)
    with pytest.raises(ValueError) as error:
        mixer.advance(inputs, mixer.initial_state(1), reset=np.zeros((1, 2), bool))
    assert str(error.value) == (
        "LSTMMixer: there must be no reset, which keras.layers.LSTM has no argument for. Got one."
    )
