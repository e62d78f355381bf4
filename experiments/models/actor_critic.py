"""An actor-critic whose memory goes on from one rollout to the next, in rows of episodes one after another.

A rollout has a fixed length, so it cuts episodes: it begins in the middle of one, and others end and begin within it.
The programs are Keras models, the same on each backend; the environment is NumPy's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from experiments.data.t_maze import TMaze
from keras_griffin.layers import ResidualBlock, RMSNorm, SequenceLayer
from keras_griffin.shapes import Tensor

#: Of a reward a step later; of the value's error, and of the entropy, in the loss.
DISCOUNT, VALUE_SCALE, ENTROPY_SCALE = 0.99, 0.5, 0.01


class Policy(keras.layers.Layer):
    """Residual blocks over what is seen, and two heads: the logits of the turns, and the value.

    Args:
        mixers: of the blocks.
        width: D, the width of the residual stream.
        mlp_width: the width inside the gated MLPs.
        turns: how many there are.
        has_resets: whether the memory is cleared where an episode begins.

    Call arguments:
        seen: `(B, T, F)`.
        is_start: `(B, T)` bool, the first steps of episodes.
        state: tensors, `(B, ...)` each, as `initial_state` returns them.

        Returns the logits and the value, `(B, T, turns + 1)`, and the state after the last step.
    """

    def __init__(self, mixers: Sequence[SequenceLayer], width: int, mlp_width: int, turns: int, has_resets: bool):
        super().__init__()
        self.has_resets = has_resets
        # Random, since a bias of zero would leave the norm behind it no more than the sign of a single feature.
        self.projection = keras.layers.Dense(width, bias_initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.blocks = [ResidualBlock(mixer, mlp_width, output_variance_scale=2 / len(mixers)) for mixer in mixers]
        self.norm = RMSNorm()
        # Small at first, so that all turns are as likely.
        self.head = keras.layers.Dense(turns + 1, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))

    def build(self, seen_shape, *_):
        """Build the parts."""
        self.projection.build(seen_shape)
        shape = (*seen_shape[:-1], self.projection.units)
        for part in (*self.blocks, self.norm, self.head):
            part.build(shape)
        self._structure = [block.initial_state(1) for block in self.blocks]
        self.built = True

    def initial_state(self, rows: int) -> list[np.ndarray]:
        """The state before the first step."""
        leaves = keras.tree.flatten([block.initial_state(rows) for block in self.blocks])
        return [ops.convert_to_numpy(leaf) for leaf in leaves]

    def call(self, seen, is_start, state):
        """The outputs and the next state."""
        x, states = self.projection(seen), []
        for block, own in zip(self.blocks, keras.tree.pack_sequence_as(self._structure, state), strict=True):
            x, own = block.advance(x, own, reset=is_start if self.has_resets else None)
            states.append(own)
        return self.head(self.norm(x)), keras.tree.flatten(states)


class Agent:
    """A policy as two programs: one acts, the other learns from a rollout.

    Args:
        policy: not yet built.
        features: F, what is seen at a step.
        optimizer: of the policy.
        jit_compile: whether XLA compiles them.
    """

    def __init__(self, policy: Policy, features: int, optimizer: keras.optimizers.Optimizer, jit_compile: bool):
        policy.build((None, None, features))
        self.policy = policy
        seen, is_start = keras.Input((None, features)), keras.Input((None,), dtype="bool")
        state = [keras.Input(leaf.shape[1:], dtype=leaf.dtype.name) for leaf in policy.initial_state(1)]
        outputs, after = policy(seen, is_start, state)
        self.actor = keras.Model([seen, is_start, *state], [outputs, *after])
        self.actor.compile(jit_compile=jit_compile)
        self.learner = keras.Model([seen, is_start, *state], outputs)
        self.learner.compile(optimizer, actor_critic_loss, jit_compile=jit_compile)

    def act(self, maze: TMaze, state: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """The logits and the value of what is seen now, `(B, turns + 1)`, and the state after it."""
        outputs, *state = self.actor.predict_on_batch([maze.seen[:, None], maze.is_start[:, None], *state])
        return outputs[:, 0], state

    def learn(self, rollout: "Rollout", last_values: np.ndarray) -> None:
        """Make a step of the optimizer.

        Args:
            rollout: what happened.
            last_values: `(B,)`, the values of what was seen after it.
        """
        self.learner.train_on_batch(
            [rollout.seen, rollout.is_start, *rollout.state], targets(rollout, returns(rollout, last_values))
        )


class Rollout(NamedTuple):
    """What happened in so many steps of B rows."""

    #: Before the first step.
    state: list[np.ndarray]
    #: `(B, T, F)`.
    seen: np.ndarray
    #: `(B, T)` bool, the first and the last steps of episodes; only at the last a turn counts.
    is_start: np.ndarray
    is_junction: np.ndarray
    #: `(B, T)` int, the corridors of the episodes.
    corridors: np.ndarray
    #: `(B, T, turns + 1)`, the logits and the values.
    outputs: np.ndarray
    #: `(B, T)` int, and float.
    turns: np.ndarray
    rewards: np.ndarray


def walk(
    agent: Agent, maze: TMaze, state: list[np.ndarray], length: int, choose: Callable[[np.ndarray], np.ndarray]
) -> tuple[Rollout, list[np.ndarray]]:
    """Act for so many steps, and return what happened and the state after it.

    Args:
        agent: acts.
        maze: continues from where it is.
        state: of the agent's memory.
        length: T.
        choose: turns `(B,)` from logits `(B, turns)`.
    """
    before, steps = state, []
    for _ in range(length):
        seen = maze.seen, maze.is_start, maze.is_junction, maze.corridors.copy()
        outputs, state = agent.act(maze, state)
        turns = choose(outputs[:, :-1])
        steps.append((*seen, outputs, turns, maze.step(turns)))
    return Rollout(before, *(np.stack(part, axis=1) for part in zip(*steps, strict=True))), state


def returns(rollout: Rollout, last_values: np.ndarray) -> np.ndarray:
    """The discounted rewards from each step to the end of its episode: `(B, T)`.

        G_t = r_t                       at the last step of an episode
        G_t = r_t + DISCOUNT G_(t+1)    before it

    G_T, where an episode goes on behind the rollout, is the value there.
    """
    found, following = np.zeros(rollout.rewards.shape), last_values
    for step in reversed(range(found.shape[1])):
        goes_on = ~rollout.is_junction[:, step]
        following = rollout.rewards[:, step] + DISCOUNT * goes_on * following
        found[:, step] = following
    return found


def targets(rollout: Rollout, found: np.ndarray) -> np.ndarray:
    """For each step the turn, its weight, its advantage and the return: `(B, T, 4)`, for `actor_critic_loss`.

    Only a turn at a junction has a weight: elsewhere there is nothing to choose. Their mean is 1.

    Args:
        rollout: what happened.
        found: `(B, T)`, the returns.
    """
    weights = rollout.is_junction / max(rollout.is_junction.mean(), 1 / rollout.is_junction.size)
    advantages = found - rollout.outputs[..., -1]
    return np.stack([rollout.turns, weights, advantages, found], axis=-1).astype("float32")


def actor_critic_loss(targets: Tensor, outputs: Tensor) -> Tensor:
    """The loss of each step, `(B, T)`.

        VALUE_SCALE (G - V)^2 - weight (A log p(turn) + ENTROPY_SCALE H(p))

    Args:
        targets: `(B, T, 4)`, of the function of that name.
        outputs: `(B, T, turns + 1)`, of the policy.
    """
    turns, weights, advantages, found = (targets[..., index] for index in range(4))
    logs, values = ops.log_softmax(outputs[..., :-1]), outputs[..., -1]
    chosen = ops.sum(logs * ops.one_hot(ops.cast(turns, "int32"), logs.shape[-1]), axis=-1)
    entropy = -ops.sum(ops.exp(logs) * logs, axis=-1)
    return VALUE_SCALE * (found - values) ** 2 - weights * (advantages * chosen + ENTROPY_SCALE * entropy)
