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
# # The RG-LRU from equation to scan
#
# **Learned here:** the recurrence of Hawk and Griffin ([De et al. 2024](https://arxiv.org/abs/2402.19427), section 2.4) gives
# the same states as a loop, as a parallel scan, in chunks and one step at a time; without a bound on the derivative of its
# square root a run in bfloat16 ends in NaN; and a Hawk learns to keep a digit over 50 bytes by opening a gate at the digit
# and closing it at every letter.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "jax")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from keras import ops
from keras_griffin.inspection import plot_gate, plot_gate_behaviour
from keras_griffin.layers import RGLRU
from keras_griffin.models import GriffinConfig, Hawk
from keras_griffin.ops import bounded_sqrt, linear_scan, rg_lru
from keras_griffin.testing.gradients import value_and_gradient

keras.utils.set_random_seed(0)
print("Keras", keras.__version__, "on", keras.backend.backend())
NUMBERS, LINES, TESTED = 640, 2048, 512
EPOCHS, LINE_EPOCHS = 15, 16

# %% tags=["test"]
if SMALL:
    NUMBERS, LINES, TESTED, EPOCHS, LINE_EPOCHS = 64, 128, 128, 2, 1

# %% [markdown]
# ## The equation
#
# Each channel of the input $x_t$ has a state $h_t$, a single number, and a learned parameter $\Lambda$:
#
# $$r_t = \sigma(W_a x_t + b_a) \qquad i_t = \sigma(W_x x_t + b_x)$$
# $$a_t = \sigma(\Lambda)^{c\,r_t} \qquad h_t = a_t h_{t-1} + \sqrt{1 - a_t^2}\;(i_t x_t)$$
#
# with $c = 8$. The recurrence gate $r_t$ sets how much of the past to keep, the input gate $i_t$ sets how much of the
# input to let in, and the square root keeps the state bounded. Both gates read $x_t$ alone, not $h_{t-1}$: given the
# input, the recurrence is linear, which is what makes the scan below possible.
#
# Here is the equation in NumPy, in float64, one step at a time. The gate logits come from an untrained layer, whose decays
# are drawn as in the paper; by default they are drawn as in the released code, with shorter memories.

# %%
batch_size, length, width = 2, 256, 16
rng = np.random.default_rng(0)
x = rng.normal(size=(batch_size, length, width)).astype("float32")
layer = RGLRU(decay_initializer="paper", return_sequences=True)
layer.build(x.shape)
recurrence_logits = ops.convert_to_numpy(layer.recurrence_gate(x))
input_logits = ops.convert_to_numpy(layer.input_gate(x))
decay_parameter = ops.convert_to_numpy(layer.decay_parameter)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype("float64")))


r, i = sigmoid(recurrence_logits), sigmoid(input_logits)
a = sigmoid(decay_parameter) ** (8 * r)
gated = np.sqrt(1 - a**2) * (i * x)

states = np.zeros((batch_size, length, width))
h = np.zeros((batch_size, width))
for t in range(length):
    h = a[:, t] * h + gated[:, t]
    states[:, t] = h

# %% [markdown]
# ## As a parallel scan
#
# A step is the map $h \mapsto a h + b$. Two steps compose to a map of the same form,
# $h \mapsto a_2 a_1 h + (a_2 b_1 + b_2)$, and composition is associative, so you can group neighbouring steps in any
# way. Combine each step with the one 1, 2, 4, ... before it: after $\log_2 T$ rounds, each step holds the map from the
# beginning, and all steps of a round run in parallel. (This form does more arithmetic than the loop. Which one is
# fastest depends on the device: `ops.explain` says what the library runs on yours.)

# %%
total_decay, scanned = a.copy(), gated.copy()
rounds, shift = 0, 1
while shift < length:
    # NumPy computes the right side before it assigns: every step of a round reads the previous round.
    scanned[:, shift:] = total_decay[:, shift:] * scanned[:, :-shift] + scanned[:, shift:]
    total_decay[:, shift:] = total_decay[:, shift:] * total_decay[:, :-shift]
    rounds, shift = rounds + 1, 2 * shift
print(f"{rounds} rounds in place of {length} steps")

# %% [markdown]
# ## Chunks, and one step at a time
#
# `ops.rg_lru` is the whole unit, gates and scan; `ops.linear_scan` is the scan alone. Both take an initial state and
# return the final one, so you can process a sequence in chunks of any length. A decoding step is a chunk of length one.
#
# **Expect** 8 rounds for 256 steps, and every way within 1e-5 of the float64 loop, relative to the largest state: the
# library computes in float32, the NumPy scan in float64.


# %%
def in_chunks(lengths):
    """The states from `rg_lru`, in chunks of these lengths."""
    state, start, pieces = np.zeros((batch_size, width), "float32"), 0, []
    for size in lengths:
        part = slice(start, start + size)
        piece, state = rg_lru(
            x[:, part], input_logits[:, part], recurrence_logits[:, part], decay_parameter, state
        )
        pieces.append(ops.convert_to_numpy(piece))
        start += size
    return np.concatenate(pieces, axis=1)


ways = {
    "parallel scan in NumPy": scanned,
    "ops.linear_scan": ops.convert_to_numpy(
        linear_scan(a.astype("float32"), gated.astype("float32"))[0]
    ),
    "ops.rg_lru": in_chunks([length]),
    "layers.RGLRU": ops.convert_to_numpy(layer(x)),
    "chunks of 100, 1, 27, 128": in_chunks([100, 1, 27, 128]),
    "one step at a time": in_chunks([1] * length),
}
differences = {
    name: np.abs(found - states).max() / np.abs(states).max() for name, found in ways.items()
}
for name, difference in differences.items():
    print(f"{name:<28}{difference:.1e}")

# %% tags=["test"]
assert rounds == 8 and length == 256
assert all(difference < 1e-5 for difference in differences.values())

# %% [markdown]
# ## What the gate does
#
# Write a gated update as $h_t = \alpha(r)\,h_{t-1} + \beta(r)\,x_t$. The plot reproduces Figure 7 of the paper:
# $\alpha$, the weight of the past (solid), and $\beta$, the weight of the input (dashed), for the RG-LRU and three
# other units.
#
# **Expect** an RG-LRU with $a = 0.9$ to keep the whole past and ignore its input at $r = 0$, and to keep 0.43 of the
# past and take in 0.90 of the input at $r = 1$. A GRU and Mamba can erase the past at $r = 1$. The RG-LRU can't, so a
# channel with a large $a$ has a long memory whatever its gate does. The LRU has no gate.

# %% tags=["test"]
kept = 0.9**8
let_in = np.sqrt(1 - kept**2)
assert round(kept, 2) == 0.43 and f"{let_in:.2f}" == f"{0.90:.2f}"
assert 0.9 ** (8 * 0) == 1 and np.sqrt(1 - 1.0) == 0

# %% jupyter={"source_hidden": true}
figure, panels = plt.subplots(1, 2, sharey=True)
for axes, decay in zip(panels, (0.9, 0.99), strict=True):
    plot_gate_behaviour(decay, axes=axes)
    axes.set_title(f"a = {decay}: an RG-LRU never erases everything")
    axes.get_legend().remove()
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# ## Why the root's derivative is bounded
#
# As $a_t$ goes to 1, $\sqrt{1 - a_t^2}$ goes to 0 and its derivative to infinity. In exact arithmetic this is harmless:
# the gradient for the gate's logits multiplies it by $r_t(1 - r_t)$, which goes to 0 faster. In floating point,
# $1 - a_t^2$ rounds to exactly 0 while the gate is not fully closed. Infinity times a small number is infinity, and
# infinity times 0 is NaN. `ops.bounded_sqrt` returns the same value, with a derivative of at most 1,000.
#
# The plot shows where rounding begins: bfloat16 has no number between 0.996 and 1, so every $a$ above 0.998 becomes 1.
# In an untrained RG-LRU with the paper's decays, those at an open gate cover 0.9 to 0.999, and a half-closed gate moves
# them closer to 1.

# %%
gap = np.logspace(-9, -0.5, 300).astype("float32")
_, [plain] = value_and_gradient(lambda v: ops.sum(ops.sqrt(v)), gap)
_, [bounded] = value_and_gradient(lambda v: ops.sum(bounded_sqrt(v)), gap)


# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
axes.loglog(gap, plain, label="sqrt")
axes.loglog(gap, bounded, "--", label="bounded_sqrt")
for dtype, epsilon in (("bfloat16", 2.0**-8), ("float32", 2.0**-24)):
    # A decay closer to 1 than half the spacing below 1 rounds to 1; 1 - a^2 is then about twice that distance.
    axes.axvline(epsilon, color="gray", linestyle=":")
    axes.text(epsilon * 1.15, 15, f"below: 0 in {dtype}", rotation=90, va="bottom", fontsize=8)
axes.set(xlabel="$1 - a^2$", ylabel="derivative of the root")
axes.set_title("The bounded root's derivative stops at 1,000")
axes.legend()
plt.show()

# %% [markdown]
# Now compare the gradients for the recurrence gate's logits, of a loss over 64 steps, in three versions: the literal
# equation (`1 - a * a`, in one dtype throughout); `expm1`, which keeps all digits near $a = 1$; and the library's
# computation, in float32 with `expm1` and the bounded root. The gate logits are those of an untrained layer, then 12
# and 100 lower, as in gates that have learned to close.
#
# **Expect** the literal equation to fail in an untrained layer in bfloat16, and in float32 once the gates close (12
# lower). With `expm1`, the plain root fails only where the gate is exactly 0 (100 lower). With the bounded root, every
# gradient is finite. The bound does not restore lost digits: in bfloat16, the largest gradient of the literal equation
# is more than 5 times the library's.


# %%
def loss_of(root, dtype, use_expm1):
    """The loss of the literal equation, as a function of the recurrence gate's logits."""

    def loss(logits):
        r, i = (ops.sigmoid(ops.cast(logits, dtype)), ops.sigmoid(ops.cast(input_logits, dtype)))
        log_a = -8 * r * ops.softplus(-ops.cast(decay_parameter, dtype))
        a = ops.exp(log_a)
        gated = root(-ops.expm1(2 * log_a) if use_expm1 else 1 - a * a) * (i * ops.cast(x, dtype))
        states, _ = linear_scan(a[:, :64], gated[:, :64])
        return ops.mean(ops.square(ops.cast(states, "float32") - 1))

    return loss


def library_loss(logits):
    """The same loss with the library's op, from inputs in bfloat16."""
    inputs, i, r = (ops.cast(v, "bfloat16")[:, :64] for v in (x, input_logits, logits))
    return ops.mean(ops.square(ops.cast(rg_lru(inputs, i, r, decay_parameter)[0], "float32") - 1))


losses = {
    "bfloat16, 1 - a*a, sqrt": loss_of(ops.sqrt, "bfloat16", False),
    "bfloat16, 1 - a*a, bounded_sqrt": loss_of(bounded_sqrt, "bfloat16", False),
    "float32, 1 - a*a, sqrt": loss_of(ops.sqrt, "float32", False),
    "float32, expm1, sqrt": loss_of(ops.sqrt, "float32", True),
    "float32, expm1, bounded_sqrt": loss_of(bounded_sqrt, "float32", True),
    "ops.rg_lru": library_loss,
}
lower = (0, 12, 100)
gradients = {
    name: [
        value_and_gradient(loss, recurrence_logits - np.float32(each))[1][0][:, :64]
        for each in lower
    ]
    for name, loss in losses.items()
}
print(
    f"{'share of finite gradients, logits lower by':<44}" + "".join(f"{each:>8}" for each in lower)
)
finite = {
    name: [np.isfinite(gradient).mean() for gradient in found] for name, found in gradients.items()
}
for name, shares in finite.items():
    print(f"{name:<44}" + "".join(f"{share:>8.1%}" for share in shares))
largest = {name: np.abs(found[0]).max() for name, found in gradients.items()}
print(
    f"largest: {largest['bfloat16, 1 - a*a, bounded_sqrt']:.1e}, with the library {largest['ops.rg_lru']:.1e}"
)

# %% tags=["test"]
assert finite["bfloat16, 1 - a*a, sqrt"][0] < 1
assert (
    finite["float32, 1 - a*a, sqrt"][0] == 1
    and finite["float32, 1 - a*a, sqrt"][lower.index(12)] < 1
)
assert (
    finite["float32, expm1, sqrt"][1] == 1 and finite["float32, expm1, sqrt"][lower.index(100)] < 1
)
for name in ("bfloat16, 1 - a*a, bounded_sqrt", "float32, expm1, bounded_sqrt", "ops.rg_lru"):
    assert finite[name] == [1, 1, 1]
assert largest["bfloat16, 1 - a*a, bounded_sqrt"] > 5 * largest["ops.rg_lru"]

# %% [markdown]
# ## A run that fails
#
# One unit between two dense layers learns the sum of 32 numbers, divided by the root of 32, in mixed bfloat16; always
# answering 0 has an error of 1. `LiteralRGLRU` implements the literal equation, with the root as an argument; `RGLRU`
# is the library's layer.
#
# **Expect** an error of NaN from the first epoch with `sqrt`, and an error below 0.05 with `bounded_sqrt` and with
# `RGLRU`.


# %%
class LiteralRGLRU(keras.layers.Layer):
    def __init__(self, root):
        super().__init__(dtype="mixed_bfloat16")
        self.root = root
        self.gates = RGLRU(decay_initializer="paper", dtype="mixed_bfloat16")

    def build(self, inputs_shape):
        self.gates.build(inputs_shape)

    def call(self, x):
        r, i = (ops.sigmoid(self.gates.recurrence_gate(x)), ops.sigmoid(self.gates.input_gate(x)))
        decay_parameter = ops.cast(self.gates.decay_parameter, "bfloat16")
        a = ops.exp(-8 * r * ops.softplus(-decay_parameter))
        return linear_scan(a, self.root(1 - a * a) * (i * x))[0][:, -1]


rng = np.random.default_rng(0)
inputs = rng.normal(size=(NUMBERS, 32, 1)).astype("float32")
targets = inputs.sum(axis=1) / np.sqrt(32)
courses = {}
for name, unit in {
    "1 - a*a, sqrt": LiteralRGLRU(ops.sqrt),
    "1 - a*a, bounded_sqrt": LiteralRGLRU(bounded_sqrt),
    "RGLRU": RGLRU(decay_initializer="paper", dtype="mixed_bfloat16"),
}.items():
    keras.utils.set_random_seed(1)
    first, last = (keras.layers.Dense(units, dtype="mixed_bfloat16") for units in (64, 1))
    model = keras.Sequential([first, unit, last])
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    courses[name] = model.fit(inputs, targets, epochs=EPOCHS, shuffle=False, verbose=0).history[
        "loss"
    ]
    print(
        f"{name:<24}{courses[name][0]:.3f} in the first epoch, {courses[name][-1]:.3f} in the last"
    )

# %% tags=["test"]
assert np.isnan(courses["1 - a*a, sqrt"]).all()
for name in ("1 - a*a, bounded_sqrt", "RGLRU"):
    assert np.isfinite(courses[name]).all() and (SMALL or courses[name][-1] < 0.05)

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
for name, losses_of_epochs in courses.items():
    label = f"{name}: NaN from the first epoch" if np.isnan(losses_of_epochs[0]) else name
    axes.plot(range(1, EPOCHS + 1), losses_of_epochs, marker=".", label=label)
axes.set(xlabel="epoch of 20 steps", ylabel="mean squared error", yscale="log")
axes.set_title("Without the bound, bfloat16 training fails in the first epoch")
axes.legend()
plt.show()

# %% [markdown]
# ## How long a channel remembers
#
# With decay $a_t$, the half-life of a channel is $\ln 2 / -\ln a_t$ steps. Train a Hawk of one block on a task that
# needs a long memory: a line of 64 bytes has one digit in its first quarter, letters and spaces elsewhere, and a
# question mark at its end. After the question mark, the model must output the digit.

# %%
line_length = 64


def lines(count, seed):
    """Token ids, targets and weights; only the answer has a weight."""
    rng = np.random.default_rng(seed)
    token_ids = rng.choice(list(b"abcdefghijklmnopqrstuvwxyz     "), (count, line_length)).astype(
        "int32"
    )
    digits = rng.integers(ord("0"), ord("9") + 1, count)
    token_ids[np.arange(count), rng.integers(0, line_length // 4, count)] = digits
    token_ids[:, -1] = ord("?")
    targets, weights = np.zeros_like(token_ids), np.zeros(token_ids.shape, "float32")
    targets[:, -1], weights[:, -1] = digits, 1
    return token_ids, targets, weights


def hawk(decay_range):
    """A Hawk of one block with initial decays in this range; its gates read all channels."""
    options = {"recurrent": {"decay_range": decay_range}}
    config = GriffinConfig(
        128,
        32,
        1,
        num_heads=1,
        num_gate_blocks=1,
        block_pattern=("recurrent",),
        decay_initializer="paper",
        mixer_options=options,
    )
    return Hawk(config)


print(bytes(lines(1, seed=0)[0][0].tolist()).decode())

# %% [markdown]
# Two models differ only in the range of their initial decays ($a^c$, the strongest decay): one uses the paper's range,
# the other has a half-life of at most 3 bytes. `model.trace` records gates, decays and states while a model reads. The
# `half_lives` of a layer are those of the mean of $\ln a_t$ over the text.
#
# **Expect** more than 95 % right answers with the paper's range, and at most 20 % with the short one, where a guess is
# right in one of 10 cases: over 50 bytes, the gradient halves too often to teach the model anything.

# %%
sentence = b"the cat 7 sat on a mat and watched the rain fall again?"
token_ids = np.array(list(sentence))
token_ids_of_lines, targets, weights = lines(LINES, seed=1)
test = lines(TESTED, seed=2)
before, after, right = {}, {}, {}
for decay_range in ((0.9, 0.999), (0.3, 0.6)):
    keras.utils.set_random_seed(0)
    model = hawk(decay_range)
    before[decay_range] = model.trace(token_ids)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="right")
    model.compile(keras.optimizers.Adam(1e-2), model.loss, weighted_metrics=[accuracy])
    history = model.fit(
        token_ids_of_lines,
        targets,
        sample_weight=weights,
        validation_data=test,
        batch_size=64,
        epochs=LINE_EPOCHS,
        verbose=0,
    ).history
    after[decay_range], right[decay_range] = (model.trace(token_ids), history["val_right"][-1])
    print(f"decays from {decay_range}: {right[decay_range]:.1%} of the answers are right")

# %% tags=["test"]
assert SMALL or right[0.9, 0.999] > 95 / 100
assert SMALL or right[0.3, 0.6] <= 20 / 100
assert 10 == ord("9") - ord("0") + 1 and line_length - line_length // 4 < 50

# %% [markdown]
# The plot shows the half-lives over the letters of the sentence, where the model must keep the digit.
#
# **Expect** the longest half-life to grow more than 10 times, to more than 500 bytes, with the paper's range, and to
# stay below 20 bytes with the short one.

# %%
unit = "block_0/mixer/rg_lru"
digit = sentence.index(b"7")
letters = slice(digit + 4, len(sentence) - 1)


def letter_lives(trace):
    """The half-life of each channel, in bytes, by its mean ln a_t over the letters."""
    return np.log(2) / -trace.layers[unit].values["log_decay"][letters].mean(axis=0)


longest = {
    each: [letter_lives(trace).max() for trace in (before[each], after[each])] for each in before
}
for decay_range, (first, last) in longest.items():
    print(
        f"decays from {decay_range}: the longest half-life is {first:,.0f} bytes, then {last:,.0f}"
    )

# %% tags=["test"]
assert SMALL or longest[0.9, 0.999][1] > 10 * longest[0.9, 0.999][0]
assert SMALL or longest[0.9, 0.999][1] > 500
assert SMALL or longest[0.3, 0.6][1] < 20

# %% jupyter={"source_hidden": true}
figure, panels = plt.subplots(1, 2, sharey=True)
for axes, decay_range in zip(panels, before, strict=True):
    for name, trace in (("before", before[decay_range]), ("after", after[decay_range])):
        lives = np.sort(letter_lives(trace))
        shares = (np.arange(len(lives)) + 0.5) / len(lives)
        axes.semilogy(shares, lives, label=f"{name} training")
    axes.axhline(line_length, color="gray", linestyle=":", label="length of a line")
    axes.set_xlabel("share of the channels")
    axes.set_title(f"First decays {decay_range}: {right[decay_range]:.0%} right")
panels[0].set_ylabel("half-life, bytes")
panels[0].legend()
plt.show()

# %% [markdown]
# ## The gates of the trained model
#
# Plot the gates of the model that solves the task while it reads a line. Each column is a byte and each row a channel,
# sorted with the most open at the top, so a row need not be the same channel in both plots.

# %% jupyter={"source_hidden": true}
trace = after[0.9, 0.999]
characters = [chr(token) for token in sentence]
figure, panels = plt.subplots(2, 1, figsize=(8, 5.6))
for axes, gate in zip(panels, ("recurrence_gate", "input_gate"), strict=True):
    plot_gate(trace, gate=gate, tokens=characters, axes=axes)
panels[0].set_title("Recurrence gate: an open channel decays the past and takes in the input")
panels[1].set_title("Input gate: closed in most channels, except at the digit")
plt.show()

# %% [markdown]
# Some channels keep a short memory and forget at every letter. The others close both gates on letters. Look at the
# three channels with the longest half-lives. The convolution before the unit spans four bytes, so the digit reaches the
# gates at its own byte and at the next three.
#
# **Expect** the recurrence gates of the three channels to open beyond 0.5 at the digit, and to stay below 0.05 on average
# at the letters after it: they write the digit, then shut out everything else.

# %%
values = trace.layers[unit].values
memory = np.argsort(letter_lives(trace))[-3:]
gate = values["recurrence_gate"][:, memory]

opened, closed = gate[digit : digit + 4].max(axis=0), gate[letters].mean(axis=0)
print("at the digit:", opened.round(3), "at the letters:", closed.round(4))

# %% tags=["test"]
assert len(memory) == 3
assert SMALL or (opened > 0.5).all() and (closed < 0.05).all()

# %% jupyter={"source_hidden": true}
figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 4), sharex=True)
upper.plot(gate)
upper.set(ylabel="recurrence gate", ylim=(0, 1))
upper.set_title("Three channels write the digit and keep it")
lower.plot(values["state"][:, memory])
lower.set_ylabel("state")
signs = ["·" if character == " " else character for character in characters]
lower.set_xticks(range(len(sentence)), signs, fontsize=8)
plt.show()

# %% [markdown]
# ## What the experiment found
#
# In a clone of the repository, `experiments/gates.py` replaces the gates, the update and the first decays:

# %%
sys.path.insert(0, str(Path("..").resolve()))
from experiments.harness.report import verdict_table
from experiments.harness.runner import FOLDER, experiment
from experiments.harness.table import Table

table = Table.read(FOLDER / "results" / "gates.csv")
display(Markdown(verdict_table(experiment("gates"), table)))

# %% [markdown]
# ## Exercises
#
# 1. Train the short-memory model with a curriculum: lines of 8 bytes first, then 16, 32 and 64. Do its half-lives grow
#    now?
# 2. Rerun the table of gradients with `dtype="float16"`. Which formulas fail in an untrained layer, and why does the
#    answer differ from bfloat16's?
# 3. Put two digits into each line, and ask for the first. The gates read the input, not the state: how can a unit know
#    that it already holds a digit? Does a second block help?
