# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A memory task with resets in mid-batch
#
# **Learned here:** a policy that forgets at the start of every episode learns to remember a lamp in fewer rollouts than one
# that never forgets, and a policy without a memory never learns it. Acting one step at a time gives the logits of one parallel
# call over a whole rollout, in which episodes begin anywhere: `reset`, `(B, T)`, marks the steps at which one does.
#
# An agent sees a lamp at the entrance of a maze, walks along a corridor, and must turn at its end to the side that the lamp
# indicated. Its policy is a `SequenceEncoder`. The environment uses [Gymnasium](https://gymnasium.farama.org/), from the extra
# `examples`.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "torch")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import gymnasium
import keras
import matplotlib.pyplot as plt
import numpy as np
from gymnasium.vector import AutoresetMode
from keras import ops
from keras_griffin.inspection.plots import COLOURS
from keras_griffin.models import SequenceEncoder

print("Keras", keras.__version__, "on", keras.backend.backend())
ROLLOUTS, STEPS, MAZES, EPOCHS, WATCHED = 22, 96, 32, 6, 70
CORRIDORS, WALKERS = (4, 12, 25, 50, 100), 64

# %% tags=["test"]
if SMALL:
    ROLLOUTS, STEPS, MAZES, EPOCHS, WATCHED = 2, 24, 8, 1, 6
    CORRIDORS, WALKERS = (2, 4), 4

# %% [markdown]
# ## The maze
#
# The lamp is lit if the goal is to the right, and dark if it is to the left. The agent sees it only at the first step.
# All later steps of the corridor look the same, and the length varies between episodes, so counting does not help. The
# only reward is 1 for the right turn. A step against a wall only costs time, and rewards are discounted.


# %%
class TMaze(gymnasium.Env):
    """A corridor with a lamp at its entrance and a junction at its end."""

    FORWARD, LEFT, RIGHT = range(3)

    def __init__(self, shortest=2, longest=12):
        self.shortest, self.longest = shortest, longest
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(self.shortest, self.longest + 1))
        self.goal = int(self.np_random.integers(self.LEFT, self.RIGHT + 1))
        self.position = 0
        return self.see(lamp=self.goal == self.RIGHT), {}

    def step(self, action):
        at_junction, turns = self.position == self.length, action != self.FORWARD
        self.position += not (at_junction or turns)
        terminated = bool(at_junction and turns)
        reward = float(terminated and action == self.goal)
        return self.see(lamp=False), reward, terminated, False, {}

    def see(self, lamp):
        return np.array([lamp, self.position == self.length], np.float32)


gymnasium.register("TMaze-v0", TMaze, max_episode_steps=200)


def make_mazes(count, **corridor):
    # At the end of an episode, `step` already returns the first observation of the next one.
    options = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gymnasium.make_vec(
        "TMaze-v0", count, vectorization_mode="sync", vector_kwargs=options, **corridor
    )


# %% [markdown]
# ## The policy
#
# The policy is an ordinary functional Keras model: two recurrent blocks and a head, with `reset` as a second input. The
# recurrence is a CG-LRU, whose gates read the inputs: what it keeps depends on what it sees. The head is initialised to zero,
# so at first the three actions are equally likely.


# %%
def make_policy(seed):
    keras.utils.set_random_seed(seed)
    observation = keras.Input((None, 2), name="observation")
    reset = keras.Input((None,), dtype="bool", name="reset")
    encoder = SequenceEncoder(32, num_layers=2, unit="cg_lru", mlp_width=64, name="encoder")
    features = encoder(observation, reset=reset)
    logits = keras.layers.Dense(3, kernel_initializer="zeros", name="head")(features)
    policy = keras.Model({"observation": observation, "reset": reset}, logits)
    # Label smoothing keeps every action possible: without it, the policy may collapse to one side.
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    policy.compile(keras.optimizers.Adam(5e-3, clipnorm=1.0), loss)
    return policy


print(f"{make_policy(0).count_params():,} parameters")

# %% [markdown]
# ## Act
#
# `encoder.step`, which is compiled, takes one observation per maze, the state, and in `reset` the mazes whose episode
# begins: their rows forget what came before, the others continue. The three policies differ only in the steps at which
# they forget:

# %%
FORGETS = {
    "at episode starts": lambda starts: starts,
    "never": np.zeros_like,
    "before every step": np.ones_like,
}


def play(policy, mazes, length, forgets, draws=None):
    """A rollout of `length` steps in every maze. Actions are sampled, or the most likely ones without `draws`."""
    encoder, head = policy.get_layer("encoder"), policy.get_layer("head")
    observation, _ = mazes.reset()
    starts = np.ones(mazes.num_envs, bool)
    state, steps = encoder.initial_state(mazes.num_envs), []
    for _ in range(length):
        reset = FORGETS[forgets](starts)
        features, state = encoder.step(observation, state, reset=reset)
        logits = ops.convert_to_numpy(ops.stop_gradient(head(features)))
        # The argmax of logits plus Gumbel noise is a sample from their softmax.
        noise = 0.0 if draws is None else draws.gumbel(size=logits.shape)
        action = np.argmax(logits + noise, axis=-1)
        seen = {
            "observation": observation,
            "reset": reset,
            "starts": starts,
            "logits": logits,
            "action": action,
        }
        observation, reward, terminated, truncated, _ = mazes.step(action)
        starts = terminated | truncated
        steps.append({**seen, "reward": reward, "ends": starts})
    return {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


# %% [markdown]
# ## Train
#
# The policy imitates its own successes: each action is a label, weighted by the discounted reward that follows it in
# its episode ([reward-weighted regression](https://doi.org/10.1145/1273496.1273590), Peters and Schaal 2007). This is
# `fit` with a `sample_weight`, so it runs unchanged on every backend. The end of the rollout cuts off the last episode
# of each row: its reward is unknown, so its steps have no weight.


# %%
def weights_of(rollout, discount=0.7):
    """The discounted reward from each step to the end of its episode; 0 where the rollout does not contain that end."""
    reward, ends = rollout["reward"], rollout["ends"]
    weights, following = np.zeros(reward.shape, "float32"), np.zeros(len(reward))
    for t in reversed(range(reward.shape[1])):
        following = np.where(ends[:, t], reward[:, t], discount * following)
        weights[:, t] = following
    return weights / max(weights.mean(), 1e-6)


def learn(policy, rollout, epochs):
    inputs = {name: rollout[name] for name in ("observation", "reset")}
    actions = np.eye(3, dtype="float32")[rollout["action"]]
    # One batch holds all mazes, so an epoch is one update.
    policy.fit(
        inputs,
        actions,
        sample_weight=weights_of(rollout),
        batch_size=len(actions),
        epochs=epochs,
        verbose=0,
    )


def success(rollout):
    """The share of finished episodes that end with the right turn."""
    return rollout["reward"].sum() / max(rollout["ends"].sum(), 1)


# %% [markdown]
# Train three policies from the same initial weights. The first forgets at the start of every episode. The second never
# forgets: it reads each row of a rollout as one long episode. The third forgets before every step, both when it acts
# and in training, so it is the same network without a memory.

# %%
policies, curves = {}, {}
for forgets in FORGETS:
    policy, mazes, draws = make_policy(0), make_mazes(MAZES), np.random.default_rng(0)
    mazes.reset(seed=0)
    curves[forgets] = []
    for _ in range(ROLLOUTS):
        rollout = play(policy, mazes, STEPS, forgets, draws)
        curves[forgets].append(success(rollout))
        learn(policy, rollout, EPOCHS)
    policies[forgets] = policy

# %% [markdown]
# **Expect** a success between 0.9 and 1 in the last three rollouts with resets at episode starts: smoothed labels keep
# some wrong turns among the sampled actions. Without memory it stays between 0.4 and 0.6, which is chance. Without
# resets it ends anywhere between 0.4 and 1: the gates can learn to empty the state at a junction, and in some runs they
# do. With resets, the success first exceeds 0.8 in rollout 5 to 16; without them, it does so later or not at all. This
# holds with all three seeds that were tried.

# %%
late = {forgets: np.mean(curve[-3:]) for forgets, curve in curves.items()}
when = {
    forgets: 1 + int(np.argmax(np.array([*curve, 1.0]) > 0.8)) for forgets, curve in curves.items()
}
for forgets in curves:
    print(f"{forgets:<20} {late[forgets]:.2f}, above 0.8 from rollout {when[forgets]}")

# %% tags=["test"]
assert SMALL or 0.9 < late["at episode starts"] <= 1
assert SMALL or 0.4 < late["before every step"] < 0.6
assert SMALL or 0.4 < late["never"] <= 1
assert SMALL or 5 <= when["at episode starts"] <= 16
assert SMALL or max(curves["at episode starts"]) > 0.8
assert SMALL or when["at episode starts"] < when["never"]

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
for forgets, curve in curves.items():
    axes.plot(np.arange(1, len(curve) + 1), curve, ".-", label=f"forgets {forgets}")
axes.axhline(0.5, color="gray", linestyle=":", label="chance")
axes.set(xlabel="rollout", ylabel="share of episodes with the right turn", ylim=(0.3, 1.02))
axes.set_title("With resets at episode starts, the policy needs fewer rollouts")
axes.legend(loc="center right", bbox_to_anchor=(1, 0.58))
plt.show()

# %% [markdown]
# ## Steps and one parallel call agree
#
# When the policy acts, the state advances one step at a time, and a row is reset when its episode ends. In training,
# one call reads the same rollout in parallel along time, with True in `reset` at these steps. The logits are the same.
# An episode in the middle of a row also gets the same logits as alone: nothing leaks across its start.
#
# **Expect** both differences to be rounding, below 1e-4.

# %%
policy = policies["at episode starts"]
rollout = play(policy, make_mazes(MAZES), STEPS, "at episode starts", np.random.default_rng(1))
inputs = {name: rollout[name] for name in ("observation", "reset")}
parallel = ops.convert_to_numpy(policy(inputs))
largest = np.abs(parallel).max()

middle = rollout["starts"][:, 1:].any(axis=1)
print(f"{middle.sum()} of {MAZES} rows have an episode that starts in mid-row")
row = int(np.argmax(middle))
begin = 1 + int(np.argmax(rollout["starts"][row, 1:]))
following = rollout["starts"][row, begin + 1 :]
end = begin + 1 + int(np.argmax(following)) if following.any() else STEPS
piece = {name: value[row : row + 1, begin:end] for name, value in inputs.items()}
alone = ops.convert_to_numpy(policy({**piece, "reset": np.zeros_like(piece["reset"])}))

of_steps = np.abs(parallel - rollout["logits"]).max() / largest
of_alone = np.abs(parallel[row, begin:end] - alone[0]).max() / largest
print(f"steps vs. one call:           {of_steps:.1e} of the largest logit")
print(
    f"in mid-row vs. alone:         {of_alone:.1e} of the largest logit, steps {begin} to {end - 1} of row {row}"
)

# %% tags=["test"]
assert of_steps < 1e-4
assert of_alone < 1e-4

# %% [markdown]
# ## What the state remembers
#
# The plot shows one row of several episodes, in corridors of 12 steps. The upper panel is the difference of two logits,
# "right" minus "left", which matters only at the junction (a dot). In the corridor no turn is needed, and the lamp does
# not show in the logits. It is in the state: the lower panel shows the channels of the second block's CG-LRU that best
# separate lit from dark. They hold the lamp along the corridor and are empty after a reset. Without resets, the same
# policy gets junctions wrong on the same observations: what earlier episodes left in the state outweighs the lamp.
#
# **Expect** 1.0 with resets (at least 0.97), and between 0.4 and 0.95 when the policy trained with resets acts without
# them.

# %%
rollout = play(policy, make_mazes(MAZES, shortest=12, longest=12), WATCHED, "at episode starts")
encoder, head = policy.get_layer("encoder"), policy.get_layer("head")


def read(rollout, reset):
    """For each step "right" minus "left", and the state of the second block's recurrence."""
    state = encoder.initial_state(MAZES)
    leans, hidden = [], []
    for t in range(WATCHED):
        features, state = encoder.step(rollout["observation"][:, t], state, reset=reset[:, t])
        logits = ops.convert_to_numpy(ops.stop_gradient(head(features)))
        leans.append(logits[:, TMaze.RIGHT] - logits[:, TMaze.LEFT])
        hidden.append(ops.convert_to_numpy(state.blocks[1].unit.hidden).copy())
    return np.stack(leans, axis=1), np.stack(hidden, axis=1)


starts, junction = rollout["starts"], rollout["observation"][..., 1] > 0
lit = np.zeros(starts.shape, bool)
for t in range(WATCHED):
    lit[:, t] = np.where(starts[:, t], rollout["observation"][:, t, 0] > 0, lit[:, t - 1])
leans, hidden = read(rollout, starts)
leaking, _ = read(rollout, np.zeros_like(starts))
right_side = np.mean((leans > 0)[junction] == lit[junction]) if junction.any() else 0.0
leaking_side = np.mean((leaking > 0)[junction] == lit[junction]) if junction.any() else 0.0
print(
    f"junctions at which the lamp's side is more likely: {right_side:.2f} with resets, {leaking_side:.2f} without"
)

# %% tags=["test"]
assert SMALL or 0.97 <= right_side <= 1.0
assert SMALL or 0.4 <= leaking_side <= 0.95

# %% jupyter={"source_hidden": true}
# The row in which the lamp changes most often.
row = int(np.argmax((np.diff(lit.astype(int), axis=1) != 0).sum(axis=1)))
steps, turns = np.arange(WATCHED), junction[row]
figure, (above, below) = plt.subplots(2, figsize=(7.3, 4.6), sharex=True)
for lean, label in ((leans[row], "reset at episode starts"), (leaking[row], "never reset")):
    (line,) = above.plot(steps, lean, label=label)
    above.plot(steps[turns], lean[turns], "o", color=line.get_color(), markersize=5)
for t in steps[starts[row]]:
    above.axvline(t - 0.5, color="gray", linewidth=0.8)
    below.axvline(t - 0.5, color="white", linewidth=1.2)
    lamp = "lit" if lit[row, t] else "dark"
    above.text(t, 1.02, lamp, transform=above.get_xaxis_transform(), fontsize="small")
above.axhline(0, color="gray", linestyle=":")
above.set_ylabel('"right" minus "left"')
above.set_title(
    "The policy remembers the lamp until the junction and forgets it at a reset", pad=18
)
above.legend()
gap = np.zeros(hidden.shape[-1])
if lit.any() and not lit.all():
    spread = hidden[lit].std(axis=0) + hidden[~lit].std(axis=0)
    gap = (hidden[lit].mean(axis=0) - hidden[~lit].mean(axis=0)) / spread
chosen = np.argsort(-np.abs(gap))[:8]
scale = np.abs(hidden[row][:, chosen]).max()
image = below.imshow(
    (hidden[row][:, chosen] * np.sign(gap[chosen])).T,
    aspect="auto",
    interpolation="nearest",
    cmap="RdBu_r",
    vmin=-scale,
    vmax=scale,
    extent=(-0.5, WATCHED - 0.5, len(chosen) - 0.5, -0.5),
)
figure.colorbar(image, ax=below, label="h (lit: positive)")
below.set(xlabel="step of the row", ylabel="channels, best first", yticks=[])
plt.show()

# %% [markdown]
# ## Longer corridors than in training
#
# Training used corridors of up to 12 steps, which the 16 taps of a block's convolution span. Beyond the two blocks'
# taps the learned decays alone determine how long the policy remembers the lamp. Now each of the three policies takes
# its most likely action, with the resets it was trained with; the first one also runs without resets. All walk the
# same mazes, so a policy that always turns to one side has the same share at each length.
#
# **Expect**, at twelve steps, at least 0.97 with resets, between 0.4 and 0.95 when the policy acts without them, and
# between 0.4 and 0.6 without memory. At a hundred steps, which training does not cover, any share from 0.4 to 1 is
# possible.

# %%
ways = {
    "resets in training and acting": ("at episode starts", "at episode starts"),
    "resets in training alone": ("at episode starts", "never"),
    "never reset": ("never", "never"),
    "no memory": ("before every step", "before every step"),
}
reached = {way: [] for way in ways}
for way, (trained, forgets) in ways.items():
    for corridor in CORRIDORS:
        mazes = make_mazes(WALKERS, shortest=corridor, longest=corridor)
        mazes.reset(seed=1)
        # About three episodes per maze.
        reached[way].append(
            success(play(policies[trained], mazes, 3 * (corridor + 1) + 1, forgets))
        )
    print(f"{way:<32}", "  ".join(f"{share:.2f}" for share in reached[way]))

# %% tags=["test"]
at_twelve = {way: shares[1] for way, shares in reached.items()}
assert SMALL or at_twelve["resets in training and acting"] >= 0.97
assert SMALL or 0.4 < at_twelve["resets in training alone"] < 0.95
assert SMALL or 0.4 < at_twelve["no memory"] < 0.6
assert SMALL or 0.4 < reached["resets in training and acting"][-1] <= 1

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
styles = ((COLOURS[0], "-"), (COLOURS[0], "--"), (COLOURS[1], "-"), (COLOURS[2], "-"))
for (way, shares), (colour, line) in zip(reached.items(), styles, strict=True):
    axes.plot(CORRIDORS, shares, color=colour, linestyle=line, marker=".", label=way)
axes.axvspan(min(CORRIDORS), 12, color="gray", alpha=0.15, label="lengths in training")
axes.set(xscale="log", xlabel="length of the corridor, steps", ylabel="share of right turns")
axes.set(ylim=(0, 1.02))
axes.set_xticks(CORRIDORS, CORRIDORS)
axes.minorticks_off()
axes.set_title("A policy trained with resets also needs them when it acts")
figure.legend(loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# ## Exercises
#
# 1. Train the policy that never resets for twice as many rollouts. Does it reach the first one? Which channels of the
#    recurrence must it empty, and at which observation could it do so?
# 2. Make the training corridors 40 to 80 steps long, and give the encoder longer decays:
#    `mixer_options={"recurrent": {"decay_range": (0.9, 0.999)}}`. How many rollouts does each range need?
# 3. Continue each rollout where the last one ended, without `mazes.reset()`: keep the state at the end of a rollout,
#    and train with `encoder.advance(features, state, reset=reset)` in a model whose state is an input.
