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
# # Packing and resets
#
# **Learned here:** rows that hold several documents, packed, have about twice as many real tokens as padded
# rows; without resets at the borders, documents leak into one another; `check_no_leak` finds it; and a task that depends on
# where a document begins can't be learned with the leak.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "torch")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import re
import textwrap

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras_griffin.inspection import influence, plot_influence
from keras_griffin.inspection.plots import COLOURS, FAMILY_COLOURS
from keras_griffin.models import Griffin, GriffinConfig, Hawk
from keras_griffin.tasks.text import load_corpus
from keras_griffin.testing import check_no_leak
from keras_griffin.training import AdamW, PackedDocuments, Stopwatch
from matplotlib.colors import ListedColormap

keras.utils.set_random_seed(0)
print("Keras", keras.__version__, "on", keras.backend.backend())
BYTES, WIDTH, STEPS, TAUGHT, TESTED, EPOCHS, GRADIENTS = 2_000_000, 64, 12, 4000, 1000, 10, True

# %% tags=["test"]
if SMALL:
    BYTES, WIDTH, STEPS, TAUGHT, TESTED, EPOCHS, GRADIENTS = 200_000, 32, 3, 300, 300, 1, False

# %% [markdown]
# ## Documents
#
# The functions, methods and class headers of Python's standard library: its text, split before each `def`, `class` and
# decorator.

# %%
text = load_corpus(seed=0).train[:BYTES].tobytes()
parts = re.split(rb"^(?= *(?:@|def |class |async def ))", text, flags=re.MULTILINE)
documents = [np.frombuffer(part, "uint8") for part in parts if part]
sizes = np.array([len(document) for document in documents])
print(
    f"{len(documents):,} documents of {sizes.min()} to {sizes.max():,} bytes, half of them below {np.median(sizes):.0f}"
)

# %% [markdown]
# ## Padded and packed
#
# Both ways split documents longer than a row of 1,024 into pieces. With padding, each piece gets its own row.
# `PackedDocuments` puts each piece into the first row with space; `segment_ids` number a row's documents, and 0 is
# padding.
#
# **Expect** more than 98 % of the packed tokens to be real, and less than 50 % of the padded ones. No token is lost,
# and every one but the first of each document is predicted exactly once.

# %%
row_length, batch_size = 1024, 4
packed = PackedDocuments(documents, row_length, batch_size, vocabulary_size=256)
counts = packed.counts
padded_rows = sum(-(-size // row_length) for size in sizes.tolist())
padded_share, packed_share = sizes.sum() / (padded_rows * row_length), counts.fill
print(counts)
print(
    f"padded: {padded_rows:,} rows, {padded_share:.1%} real; packed: {counts.rows:,} rows, {packed_share:.1%} real"
)

# %% tags=["test"]
assert packed_share > 98 / 100 and padded_share < 50 / 100
assert counts.placed == sizes.sum() and counts.dropped == 0
predictions = sum(weights.sum() for _, _, weights in packed)
assert predictions == counts.predictions == sizes.sum() - len(documents)


# %%
class PaddedDocuments(keras.utils.PyDataset):
    """A piece of a document in each row, its padding last and without weight."""

    def __init__(self, documents):
        super().__init__()
        pieces = [
            (document, start)
            for document in documents
            for start in range(0, len(document), row_length)
        ]
        self.pieces = [
            pieces[number] for number in np.random.default_rng(0).permutation(len(pieces))
        ]

    @property
    def num_batches(self):
        return len(self.pieces) // batch_size

    def __getitem__(self, index):
        token_ids, targets = np.zeros((2, batch_size, row_length), "int32")
        weights = np.zeros((batch_size, row_length), "float32")
        for row, (document, start) in enumerate(
            self.pieces[index * batch_size : (index + 1) * batch_size]
        ):
            tokens, after = (
                document[start : start + row_length],
                document[start + 1 : start + row_length + 1],
            )
            token_ids[row, : len(tokens)], targets[row, : len(after)] = tokens, after
            weights[row, : len(after)] = 1
        return token_ids, targets, weights


padded = PaddedDocuments(documents)

# %% jupyter={"source_hidden": true}
padded_shown = np.concatenate([padded[index][2] > 0 for index in range(5)])
packed_shown = np.concatenate([packed[index][0]["segment_ids"] for index in range(5)])
# Neighbours differ in colour; padding is white.
colours = ListedColormap(["white", *COLOURS[:5]])
figure, panels = plt.subplots(1, 2, sharey=True)
for axes, rows, name, share in (
    (panels[0], padded_shown, "Padded", padded_share),
    (panels[1], packed_shown, "Packed", packed_share),
):
    shades = np.where(rows > 0, 1 + rows % 5, 0)
    axes.imshow(shades, aspect="auto", interpolation="nearest", cmap=colours, vmin=0, vmax=5)
    axes.set(
        xlabel="position in the row, bytes", title=f"{name}: {share:.0%} of the tokens are real"
    )
panels[0].set(ylabel="row", yticks=range(0, len(padded_shown), 4))
plt.show()

# %% [markdown]
# ## Real tokens per second
#
# The same Griffin takes the same number of steps on each, and `Stopwatch` excludes the first, which compiles. A packed
# row is not free: the resets take a little time. What counts is the number of real tokens per second.
#
# **Expect** a packed step to hold between 1.9 and 3.2 times as many real tokens as a padded one. The ratio of the times
# depends on your machine, so it is only printed.

# %%
config = GriffinConfig(256, WIDTH, num_layers=3, num_heads=2, window=64)


class FirstBatches(keras.utils.PyDataset):
    def __init__(self, data):
        super().__init__()
        self.data = data

    @property
    def num_batches(self):
        return STEPS

    def __getitem__(self, index):
        return self.data[index]


real, seconds = {}, {}
for name, data, model in (
    ("padded", padded, Griffin(config)),
    ("packed", packed, Griffin(config).packed()),
):
    stopwatch = Stopwatch()
    model.fit(FirstBatches(data), shuffle=False, verbose=0, callbacks=[stopwatch])
    real[name] = sum((data[index][2] > 0).sum() for index in range(STEPS)) / STEPS
    seconds[name] = stopwatch.seconds_per_step
    print(
        f"{name}: {real[name]:,.0f} targets a step of {batch_size * row_length:,}, {seconds[name]:.3f} s a step"
    )
more = real["packed"] / real["padded"]
print(
    f"{more:.2f} times as many a step, {more * seconds['padded'] / seconds['packed']:.2f} times as many a second"
)

# %% tags=["test"]
assert SMALL or 1.9 < more < 3.2

# %% [markdown]
# ## Do documents leak?
#
# `model.packed()` resets recurrence, convolution and attention where a document begins. `leaky` has the same weights
# and inputs, but ignores the segment ids. `check_no_leak` changes the tokens of one document at a time: no other
# document's outputs may change, nor the gradient of its loss.
#
# **Expect** the packed model to pass with a tolerance of zero, and the leaky one to fail with a message that names the
# documents.

# %%
pieces = [document[:20] for document in documents[:8]]
few = PackedDocuments(pieces, sequence_length=64, batch_size=2, shuffle=False)
model = Griffin(config)
check_no_leak(model.packed(), few[0], documents=pieces, gradients=GRADIENTS, tolerance=0.0)
print("packed: nothing leaks")


def without_resets(model):
    """A model with the same inputs that ignores the segment ids."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids")
    }
    leaky = keras.Model(inputs, model(inputs["token_ids"]))
    leaky.compile(AdamW(5e-3), model.loss)
    return leaky


message = ""
try:
    check_no_leak(without_resets(model), few[0], documents=pieces, gradients=GRADIENTS)
except AssertionError as error:
    message = str(error)
print(textwrap.fill(message, 100))

# %% tags=["test"]
assert "other tokens in document 0 of row 0 must not change the outputs of document 1" in message

# %% [markdown]
# ## How far does it leak?
#
# Two documents share a row; the first has 40 bytes. If you shuffle its bytes, how much do the logits of the second change?
# Three fresh models of three layers each: a Hawk, whose recurrences never forget completely; local attention alone, with a
# window of 8, whose layers together see 3 x 7 tokens back; and a Griffin.
#
# **Expect** local attention to leak into the first 21 positions of the second document and no further, the recurrences
# into all 80, and with segment ids no change anywhere: 0.0.

# %%
first, second = documents[0][:40], documents[1][:80]
first, second = np.resize(first, 40), np.resize(second, 80)
rng = np.random.default_rng(0)
row, changed = (
    np.concatenate([start, second]).astype("int32")[None]
    for start in (first, rng.permutation(first))
)
segment_ids = np.repeat([[1, 2]], [40, 80], axis=1).astype("int32")
patterns = {
    "Hawk": ("recurrent",),
    "local attention": ("local_mqa",),
    "Griffin": ("recurrent", "recurrent", "local_mqa"),
}

without, with_resets = {}, {}
for name, pattern in patterns.items():
    model = Griffin(config.replace(block_pattern=pattern, window=8))
    for found, each in ((with_resets, model.packed()), (without, without_resets(model))):
        before, after = (
            each.predict({"token_ids": x, "segment_ids": segment_ids}, verbose=0)[0]
            for x in (row, changed)
        )
        found[name] = np.abs(after - before)[40:].max(axis=-1) / np.abs(before).max()
    reached, kept = np.flatnonzero(without[name]), np.count_nonzero(with_resets[name])
    print(f"{name}: {len(reached)} positions changed without resets, {kept} with them")

# %% tags=["test"]
for name, change in without.items():
    assert with_resets[name].max() == 0.0
    reached = np.flatnonzero(change)
    assert reached.max() < 21 if name == "local attention" else len(reached) == 80

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
names = {"local attention": "local MQA"}
for name, change in without.items():
    colour = FAMILY_COLOURS[names.get(name, name)]
    axes.semilogy(np.where(change > 0, change, np.nan), color=colour, label=f"{name}, no resets")
axes.set(
    xlabel="position in the second document, bytes",
    ylabel="change of the logits,\nshare of the largest",
    title="What the first document changes in the second; with resets nothing",
)
axes.legend()
plt.show()

# %% [markdown]
# The gradient shows the same from the other side: what a prediction at the end of the second document depends on. Read as
# one text, it depends on the first document's bytes too; read alone, as in a packed row, it does not.

# %%
together, alone = influence(model, row[0]), influence(model, row[0, 40:])
print(f"{together[:40].sum() / together.sum():.1%} of the influence is the other document's")

# %% tags=["test"]
assert together[:40].min() > 0.0

# %% jupyter={"source_hidden": true}
axes = plot_influence(together, axes=plt.subplots()[1])
axes.lines[0].set_label("both as one text")
axes.plot(np.arange(40, 120), alone, color=COLOURS[1], label="the second document alone")
axes.axvspan(0, 39.5, color="gray", alpha=0.2, label="the first document")
axes.set_title("A Griffin's last prediction depends on the document before")
axes.legend()
plt.show()

# %% [markdown]
# ## Where it hurts
#
# A task that can't be solved with the leak: each document is a random string over 8 symbols with a question mark
# somewhere, followed by the document's first symbol, the only target with weight. Nothing in the tokens marks where a
# document begins: only the reset tells which symbol is the first.
#
# **Expect** more than 95 % of the answers to be right with resets, and less than 60 % without. (A guess is right in one
# of eight cases, and the first document of a row begins where the row does, so that its beginning is known.)


# %%
def strings(count, seed):
    """Documents, and the weight of each token as a target."""
    rng = np.random.default_rng(seed)
    documents, weights = [], []
    for size in rng.integers(6, 21, count):
        tokens, place = rng.integers(2, 10, size), rng.integers(3, size - 1)
        tokens[place], tokens[place + 1] = 1, tokens[0]
        documents.append(tokens)
        weights.append(np.arange(size) == place + 1)
    return documents, weights


def packed_strings(count, seed):
    documents, weights = strings(count, seed)
    return PackedDocuments(documents, 128, 16, weights=weights, vocabulary_size=10)


training, test = packed_strings(TAUGHT, 1), packed_strings(TESTED, 2)
courses = {}
for name in ("resets", "no resets"):
    keras.utils.set_random_seed(0)
    hawk = Hawk(GriffinConfig(10, 32, 2, num_heads=1, block_pattern=("recurrent",)))
    model = hawk.packed() if name == "resets" else without_resets(hawk)
    model.compile(
        AdamW(5e-3),
        hawk.loss,
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="right")],
    )
    history = model.fit(
        training, validation_data=test, epochs=EPOCHS, shuffle=False, verbose=0
    ).history
    courses[name] = history["val_right"]
    print(f"{name}: {courses[name][-1]:.1%} of the answers are right")

# %% tags=["test"]
assert SMALL or courses["resets"][-1] > 95 / 100
assert SMALL or courses["no resets"][-1] < 60 / 100

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
for name, course in courses.items():
    steps_taken = training.num_batches * np.arange(1, EPOCHS + 1)
    axes.plot(steps_taken, 100 * np.array(course), marker=".", label=name)
axes.axhline(100 / 8, color="gray", linestyle=":", label="a guess")
axes.set(
    xlabel="steps",
    ylabel="right answers, %",
    title="Without resets the beginning is unknown",
    ylim=(0, 102),
)
axes.legend()
plt.show()

# %% [markdown]
# ## Exercises
#
# 1. Pack rows of 2,048 bytes. How do the share of real tokens and the cost of padding change, and why?
# 2. Add a start symbol to every document in the last task. Do resets still matter?
# 3. Give two neighbouring documents of `few[0]` the same id, and run `check_no_leak` with and without
#    `documents=pieces`.
