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
# # Long context: train at 512, read at 16k
#
# **Learned here:** Griffin and Hawk, trained on windows of 512 bytes, read 16,384 without getting worse, from a state whose
# size and time a token stay the same; a Transformer gets worse from its 513th byte on, and slower. But it wins where a
# text must be recalled exactly.
#
# Three small models learn Python's standard library by bytes: Griffin, Hawk (recurrences only) and the paper's baseline, a
# Transformer with global multi-query attention (MQA).

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "jax")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import sys
import time
from pathlib import Path

from keras_griffin.inspection import Device, measure_decoding, plot_decode_cost
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import Griffin, GriffinConfig, Hawk, MQATransformer
from keras_griffin.tasks.text import load_corpus
from keras_griffin.training import RandomWindows, default_optimizer

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

FAMILIES = {"Griffin": Griffin, "Hawk": Hawk, "MQA": MQATransformer}
TRAINED, READ, STRETCHES, STEPS = 512, 16_384, 2, 400  # bytes, bytes, texts, steps of training
WIDTH, NUM_LAYERS = 64, 3
CONTEXTS, TIMED = [512 * 2**k for k in range(6)], {"steps": 16, "runs": 5}

# %% tags=["test"]
if SMALL:
    del FAMILIES["Hawk"]
    TRAINED, READ, STRETCHES, STEPS, WIDTH, NUM_LAYERS = 64, 512, 1, 2, 32, 2
    CONTEXTS, TIMED = CONTEXTS[:2], {"steps": 4, "runs": 3}

# %% [markdown]
# ## Three models of equal width and depth
#
# One config serves all three. Griffin is two recurrent blocks and one of local attention, whose window of 128 is a
# quarter of what it trains on; `Hawk` and `MQATransformer` replace the pattern of the blocks. The attention of both
# Griffin and MQA rotates half of each head's channels by position (RoPE), as the released RecurrentGemma does.

# %%
corpus = load_corpus()
config = GriffinConfig(256, WIDTH, NUM_LAYERS, num_heads=2, window=TRAINED // 4)
models = {}
for name, family in FAMILIES.items():
    keras.utils.set_random_seed(0)
    model = models[name] = family(config)
    model.compile(default_optimizer(model, 4e-3, steps=STEPS, beta_2=0.99), model.loss)
    started = time.perf_counter()
    model.fit(RandomWindows(corpus.train, TRAINED, batch_size=4, num_batches=STEPS), verbose=0)
    print(f"{name:<8} {model.count_params():,} parameters, {time.perf_counter() - started:.0f} s")

# %% [markdown]
# ## Loss by position
#
# Two stretches of the held-out files, one file after another, each of 16,384 bytes, are read in one go; `model.score`
# returns the log probability of every byte. Some stretches are easier than others, so compare each model with itself on
# the same bytes: it reads them again and restarts every 512 bytes, as in training. Where both ways give the same loss,
# nothing is lost by reading on.

# %%
starts = np.linspace(0, len(corpus.validation) - READ, STRETCHES).astype(int)
texts = np.stack([corpus.validation[start : start + READ] for start in starts]).astype("int32")

in_one_go, restarted = {}, {}
for name, model in models.items():
    started = time.perf_counter()
    in_one_go[name] = -model.score(texts) / np.log(2)
    seconds = time.perf_counter() - started
    restarted[name] = -model.score(texts.reshape(-1, TRAINED)).reshape(texts.shape) / np.log(2)
    print(f"{name:<8} read {texts.size:,} bytes in {seconds:.0f} s")

# Nothing predicts the first byte after a start; both exclude it.
position = np.arange(READ)
predicted = position % TRAINED > 0
edges = 2 ** np.arange(5, READ.bit_length())


def by_position(losses):
    """The mean of each stretch from one power of two to the next."""
    return np.array(
        [
            losses[:, predicted & (position >= low) & (position < 2 * low)].mean()
            for low in edges[:-1]
        ]
    )


print(f"\n{'bits per byte from':<24}" + "".join(f"{low:>8,}" for low in edges[:-1]))
for name in models:
    print(
        f"{name + ', in one go':<24}"
        + "".join(f"{bits:8.2f}" for bits in by_position(in_one_go[name]))
    )
    print(
        f"{name + ', restarted':<24}"
        + "".join(f"{bits:8.2f}" for bits in by_position(restarted[name]))
    )

# %% [markdown]
# **Expect** the two ways to read to agree up to position 512, to within 0.01 bits. Beyond, Griffin and Hawk stay within
# 0.2 bits of their restarted selves in each stretch, up to 32 times the length of their training, while MQA in one go
# is at least 1.0 bits worse in the last stretch. The state helps most right after a restart: in the 16 bytes
# there, Griffin in one go is at least 0.2 bits better.

# %%
cold = predicted & (position > TRAINED) & (position % TRAINED <= 16)
gain = {name: by_position(restarted[name]) - by_position(in_one_go[name]) for name in models}
after_restart = {name: (restarted[name] - in_one_go[name])[:, cold].mean() for name in models}
print({name: f"{bits:+.2f} bits" for name, bits in after_restart.items()})

# %% tags=["test"]
assert SMALL or (TRAINED == 512 and READ == 32 * TRAINED)
assert cold.sum() == 16 * (READ // TRAINED - 1)
for name in models:
    assert np.abs(gain[name][edges[:-1] < TRAINED]).max() < 0.01
    assert SMALL or name == "MQA" or np.abs(gain[name]).max() < 0.2
assert SMALL or gain["MQA"][-1] < -1.0
assert SMALL or after_restart["Griffin"] > 0.2

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(7.3, 4))
for name, colour in FAMILY_COLOURS.items():
    for losses, style, how in ((in_one_go, "o-", "in one go"), (restarted, ":", "restarted")):
        if name in losses:
            middle, bits = edges[:-1] * np.sqrt(2), by_position(losses[name])
            axes.plot(middle, bits, style, color=colour, label=f"{name}, {how}")
axes.axvline(TRAINED, color="gray", linewidth=1)
axes.text(TRAINED, axes.get_ylim()[1], f" trained up to {TRAINED}", color="gray", va="top")
axes.set_xscale("log", base=2)
axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
axes.set(xlabel="position, bytes", ylabel="bits per byte")
axes.set_title("Griffin and Hawk stay flat to 32 times their training; MQA does not")
axes.legend()
plt.show()

# %% [markdown]
# ## What a token costs after a long text
#
# `measure_decoding` reads contexts of several lengths, times the loop of `generate`, and counts the bytes of the state.
# `plot_decode_cost` draws both with the prediction of the paper's equation 5, from sizes and this machine's memory
# bandwidth. The weights of models as small as these stay in the processor's caches, so a step
# may take less than predicted; it is the shape of the curves that agrees.

# %%
numbers = np.ones(2**26, "float32")
seconds = []
for _ in range(5):
    started = time.perf_counter()
    numbers.sum()
    seconds.append(time.perf_counter() - started)
machine = Device("this machine", memory_bytes=16e9, bytes_per_second=numbers.nbytes / min(seconds))

measured = {name: measure_decoding(models[name], CONTEXTS, **TIMED) for name in ("Griffin", "MQA")}
print(f"{'context':<24}" + "".join(f"{context:>12,}" for context in CONTEXTS))
for name, found in measured.items():
    print(f"{name + ', bytes of state':<24}" + "".join(f"{size:12,}" for size in found.state_bytes))
    print(
        f"{name + ', ms a token':<24}" + "".join(f"{1e3 * s:12.2f}" for s in found.seconds_per_step)
    )

# %% [markdown]
# **Expect** Griffin's state to have exactly as many bytes after 16,384 tokens as after 512, and MQA's to grow by 771
# bytes a token: in each of 3 layers a key and a value of 32 float32 numbers, and a byte that marks the place as taken.
#
# Times are printed and not asserted: they include whatever else the machine does. On an idle one Griffin's time is flat
# from 512 tokens to the end, and MQA's grows with the context.

# %%
for name, found in measured.items():
    ratio = found.seconds_per_step[-1] / found.seconds_per_step[0]
    print(f"{name}: {ratio:.1f} times as long after {CONTEXTS[-1]:,} tokens as after {CONTEXTS[0]}")

# %% tags=["test"]
griffin, mqa = measured["Griffin"], measured["MQA"]
assert griffin.state_bytes[0] == griffin.state_bytes[-1]
assert CONTEXTS[0] == 512 and (SMALL or CONTEXTS[-1] == 16_384)
growth = np.diff(mqa.state_bytes) / np.diff(mqa.contexts)
assert SMALL or (growth == 3 * (2 * 32 * 4 + 1)).all() and growth[0] == 771

# %% jupyter={"source_hidden": true}
figure, panels = plt.subplots(1, 2)
titles = {"cache_bytes": "bytes of the state", "seconds_per_step": "seconds a token"}
configs = {name: models[name].config for name in measured}
for axes, (quantity, what) in zip(panels, titles.items(), strict=True):
    settings = {"device": machine, "dtype": "float32", "measured": measured}
    plot_decode_cost(configs, CONTEXTS, quantity, axes=axes, **settings)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set(ylabel=what, title="Griffin's stays, MQA's grows")
plt.show()

# %% [markdown]
# ## Where exact recall fails
#
# A state of fixed size can't hold everything. Each row here is a phone book: 32 entries, then 32 questions. An entry, a
# name and its number, is one token; a question is a name, and the answer its number. Every row draws new names and
# numbers, so nothing can be memorised. Only the answers have weight in the loss.

# %%
NAMES, NUMBERS = 32, 8


def phone_books(rows, seed):
    """Tokens and targets `(rows, 64)`, and how many tokens ago each of the 32 answers stood in the book."""
    rng = np.random.default_rng(seed)
    places = np.tile(np.arange(NAMES), (rows, 1))
    names, asked = rng.permuted(places, axis=1), rng.permuted(places, axis=1)
    numbers = rng.integers(NUMBERS, size=(rows, NAMES))
    entries = names * NUMBERS + numbers
    questions = NAMES * NUMBERS + np.take_along_axis(names, asked, axis=1)
    answers = NAMES * NUMBERS + NAMES + np.take_along_axis(numbers, asked, axis=1)
    tokens = np.concatenate([entries, questions], axis=1).astype("int32")
    targets = np.concatenate([np.zeros_like(answers), answers], axis=1).astype("int32")
    return tokens, targets, NAMES + places - asked


tokens, targets, distance = phone_books(2, seed=0)
print("entries  ", [divmod(int(entry), NUMBERS) for entry in tokens[0, :5]], "...")
print(
    "questions",
    [int(question) - NAMES * NUMBERS for question in tokens[0, NAMES : NAMES + 5]],
    "...",
)

# %% [markdown]
# Two blocks of width 64 each. Griffin's local attention sees 32 tokens, half of a row, and stands before the recurrent
# block: after it, as in the paper's pattern, it learns the same more slowly. The first decays are the paper's, whose
# memories are eight times as long as those that a model has by default: most texts are learnt faster with the shorter
# ones, but here an entry must last for up to 64 tokens.

# %%
RECALL_STEPS, RECALL_ROWS, TEST_ROWS = 600, 32, 512

# %% tags=["test"]
if SMALL:
    RECALL_STEPS, RECALL_ROWS, TEST_ROWS = 2, 8, 64

# %%
recall = GriffinConfig(
    vocabulary_size=NAMES * NUMBERS + NAMES + NUMBERS,
    width=WIDTH,
    mlp_width=64,
    num_layers=2,
    num_heads=2,
    window=32,
    block_pattern=("local_mqa", "recurrent"),
    decay_initializer="paper",
)
train_tokens, train_targets, _ = phone_books(RECALL_STEPS * RECALL_ROWS, seed=1)
test_tokens, test_targets, distance = phone_books(TEST_ROWS, seed=2)

right = {}
for name, family in FAMILIES.items():
    keras.utils.set_random_seed(0)
    model = family(recall)
    model.compile(default_optimizer(model, 4e-3, steps=RECALL_STEPS, beta_2=0.99), model.loss)
    started = time.perf_counter()
    weights = (train_targets > 0).astype("float32")
    model.fit(train_tokens, train_targets, sample_weight=weights, batch_size=RECALL_ROWS, verbose=0)
    said = model.predict(test_tokens, batch_size=64, verbose=0)[:, NAMES:].argmax(axis=-1)
    right[name] = said == test_targets[:, NAMES:]
    near, far = right[name][distance < 32].mean(), right[name][distance >= 32].mean()
    print(
        f"{name:<8} {near:.0%} right within 32 tokens, {far:.0%} beyond, {time.perf_counter() - started:.0f} s"
    )

# %% [markdown]
# **Expect** MQA right in more than 0.9 of the answers, near and far. Griffin is right in more than 0.8 within its
# window of 32 tokens, and in less than 0.5 beyond. Hawk has no attention: it is right in 0.2 to 0.85 of them, near and
# far, where chance is 0.125.

# %%
shares = {
    name: [row[distance // 4 == group].mean() for group in range(16)] for name, row in right.items()
}

# %% tags=["test"]
near = {name: right[name][distance < 32].mean() for name in right}
far = {name: right[name][distance >= 32].mean() for name in right}
assert SMALL or min(near["MQA"], far["MQA"]) > 0.9
assert SMALL or near["Griffin"] > 0.8 and far["Griffin"] < 0.5
assert SMALL or 0.2 < min(near["Hawk"], far["Hawk"]) < max(near["Hawk"], far["Hawk"]) < 0.85
assert 1 / NUMBERS == 0.125 and recall.window == 32

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
for name, share in shares.items():
    axes.plot(4 * np.arange(16) + 1.5, share, "o-", color=FAMILY_COLOURS[name], label=name)
axes.axvline(31.5, color="gray", linewidth=1)
axes.text(31.5, 0.02, " Griffin's window ends", color="gray")
axes.axhline(1 / NUMBERS, color="gray", linestyle=":", label="chance")
axes.set(xlabel="tokens between the entry and the question", ylabel="answers right", ylim=(0, 1.05))
axes.set_title("Exact recall: attention succeeds, a fixed-size state does not")
axes.legend()
plt.show()

# %% [markdown]
# Attention wins, and a local window is as good as long as it reaches: Griffin's accuracy drops where its window ends.
# Beyond it remains what a recurrence keeps of 32 entries, here in 80 numbers of Griffin's one recurrent block, and
# in 160 of Hawk's two, which recalls more there. Neither has converged after 600 steps; both are far from exact.
#
# In a clone of the repository you can read what longer runs found, in `experiments/results`:

# %%
sys.path.insert(0, str(Path("..").resolve()))
from experiments.harness.report import verdict_table
from experiments.harness.runner import FOLDER, experiment
from experiments.harness.table import Table

for name in ("long_context", "phonebook"):
    table = Table.read(FOLDER / "results" / f"{name}.csv")
    display(Markdown(verdict_table(experiment(name), table)))

# %% [markdown]
# ## Exercises
#
# 1. Give `MQATransformer` the config `config.replace(rotary_fraction=0.0)`, attention without positions. Does it still
#    break beyond 512 bytes, and what does it lose before?
# 2. Halve and double Griffin's `window` in the phone book. Where does the edge go, and what do the bytes of the state
#    do?
# 3. Read books of 8 entries with the Hawk of the last part: keep 8 of 32 columns of the book, and ask for those names.
#    How many of the answers are right?
