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
# # Quickstart: a small Griffin that writes Python
#
# **Learned here:** how to load a model, let it write, and stream what it writes; that its memory keeps one size however long the
# text is; how to train one of your own, which after a minute needs about as many bits as `zlib`; and that a model and its
# state continue in another process, on another backend.
#
# Griffin ([De et al. 2024](https://arxiv.org/abs/2402.19427)) mixes gated linear recurrences with local attention. The model
# `python_tiny` comes with the library: it learned Python's standard library on two cores in half an hour. Its tokenizer needs
# the extra `tokenizers`.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "jax")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import keras_griffin
from keras_griffin.generation import TopP, load_state, save_state
from keras_griffin.inspection import cache_bytes, plot_decode_cost
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel, MQATransformer, presets
from keras_griffin.tasks.text import compressed_bits_per_byte, load_corpus
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import (
    AdamW,
    BitsPerByte,
    HeldOutWindows,
    RandomWindows,
    warm_up_then_cosine,
)

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

print("keras_griffin", keras_griffin.__version__, "on", keras.backend.backend())

# %% [markdown]
# ## Load and generate
#
# `generate` continues prompts of different lengths in one batch. A row's output does not depend on its batch, and there
# is no padding. `TopP(0.9)` samples among the likeliest tokens that together have a probability of 0.9, and `seed` makes
# the text repeatable. Each text is shown up to its first blank line.

# %%
tiny = LanguageModel.from_preset("python_tiny")
print(f"{tiny.count_params():,} parameters, {' '.join(tiny.config.mixer_names)}")
sampler = TopP(0.9, temperature=0.7)
MOST, SEED = 100, 0

# %% tags=["test"]
if SMALL:
    MOST = 4

# %%
prompts = ["def __init__(self, ", "import os\n\nclass ", "def read_lines(path):\n"]
texts = tiny.generate(prompts, MOST, sampler=sampler, seed=SEED)
for prompt, text in zip(prompts, texts, strict=True):
    print(prompt + text[len(prompt) :].split("\n\n")[0])
    print("-" * 60)

# %% [markdown]
# `stream` yields a text piece by piece, as the model writes it. Stop whenever you like: `stream.state` is the state after the
# last piece, and another call can continue from it.
#
# **Expect** the first of the texts above, and an end at its 1st blank line.

# %%
stream = tiny.stream(prompts[0], MOST, sampler=sampler, seed=SEED)
written = ""
for piece in stream:
    print(piece, end="", flush=True)
    written += piece
    if "\n\n" in written:
        break
print(f"\n\n{stream.state}")

# %% tags=["test"]
assert texts[0].startswith(prompts[0] + written) and written.count("\n\n") <= 1

# %% [markdown]
# ## The size of the state
#
# The state holds everything that the model keeps of the text so far: the vectors of the recurrences, the last three inputs
# of their convolutions, and the newest 128 keys and values of the attention. A Transformer keeps the keys and values of
# every token. Measure both, with a Transformer of the same width and depth.
#
# **Expect** the Griffin's state to have the same size from 16 to 4,096 tokens, and the Transformer's to grow more than 100
# times.

# %%
LENGTHS = [16, 256, 4096]

# %% tags=["test"]
if SMALL:
    LENGTHS = [16, 64]

# %%
corpus = load_corpus(seed=0)
code = corpus.validation.tobytes().decode(errors="replace")
tokens = tiny.tokenizer.encode(code[: 6 * LENGTHS[-1]])
transformer = MQATransformer(tiny.config.replace(block_pattern=("global_mqa",)))
sizes = {
    name: [model.prefill([tokens[:length]]).num_bytes for length in LENGTHS]
    for name, model in (("Griffin", tiny), ("MQA", transformer))
}
for length, griffin_bytes, transformer_bytes in zip(LENGTHS, *sizes.values(), strict=True):
    print(
        f"{length:>5} tokens: Griffin {griffin_bytes:>9,} bytes, Transformer {transformer_bytes:>10,}"
    )

# %% tags=["test"]
assert len(set(sizes["Griffin"])) == 1 and len(tokens) >= LENGTHS[-1]
assert SMALL or (LENGTHS[0] == 16 and LENGTHS[-1] == 4096)
assert SMALL or sizes["MQA"][-1] > 100 * sizes["MQA"][0]

# %% [markdown]
# On the left, the lines are what `cache_bytes` predicts from the config alone, and the points are measured. On the right
# are two of the paper's models, with 1.3 billion parameters each; the Griffin's window is 1,024 tokens.

# %% jupyter={"source_hidden": true}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6))
contexts = 2 ** np.arange(4, 18)
for (name, measured), model in zip(sizes.items(), (tiny, transformer), strict=True):
    predicted = [cache_bytes(model.config, int(n), "float32") for n in contexts]
    left.plot(contexts, predicted, color=FAMILY_COLOURS[name], label=name)
    left.plot(LENGTHS, measured, "o", color=FAMILY_COLOURS[name])
left.set(xscale="log", yscale="log", xlabel="context, tokens", ylabel="state of one row, bytes")
left.set_title("python_tiny: the state stops growing")
left.legend()
paper = {"Griffin": presets()["griffin_1.3b"], "MQA": presets()["mqa_1.3b"]}
plot_decode_cost(paper, quantity="cache_bytes", axes=right)
right.set(ylabel="", title="The paper's 1.3B models, in bfloat16")
plt.show()

# %% [markdown]
# ## Train your own
#
# A smaller one, on the bytes of the standard library, split by file: you evaluate it on files that it never sees. Two recurrent
# blocks, then one of local attention over the newest 64 bytes. One frozen config determines every shape. The model is a
# functional Keras model: `compile` and `fit` are Keras's own. A uniform guess among 256 bytes costs 8 bits.
#
# **Expect** between 1.9 and 2.4 bits per byte: the model learns keywords, indentation and common names.

# %%
WIDTH, STEPS, EPOCHS, WINDOWS = 96, 600, 12, 64

# %% tags=["test"]
if SMALL:
    WIDTH, STEPS, EPOCHS, WINDOWS = 32, 4, 2, 8

# %%
keras.utils.set_random_seed(0)
config = GriffinConfig(vocabulary_size=256, width=WIDTH, num_layers=3, num_heads=2, window=64)
model = Griffin(config, tokenizer=ByteTokenizer())
model.compile(
    AdamW(warm_up_then_cosine(4e-3, STEPS)), model.loss, weighted_metrics=[BitsPerByte(name="bits")]
)
history = model.fit(
    RandomWindows(corpus.train, 128, batch_size=8, num_batches=STEPS // EPOCHS),
    validation_data=HeldOutWindows(corpus.validation, 128, batch_size=8, windows=WINDOWS),
    epochs=EPOCHS,
    verbose=0,
).history
zlib_bits = compressed_bits_per_byte(corpus.validation)["zlib"]
bits = history["val_bits"][-1]
print(f"{config.parameter_count():,} parameters: {bits:.2f} bits per byte; zlib: {zlib_bits:.2f}")

# %% tags=["test"]
assert SMALL or 1.9 < bits < 2.4

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
kilobytes = np.arange(1, EPOCHS + 1) * (STEPS // EPOCHS) * 8 * 128 / 1000
colour = FAMILY_COLOURS["Griffin"]
axes.plot(kilobytes, history["val_bits"], ".-", color=colour, label="held-out files")
axes.plot(kilobytes, history["bits"], ".-", color=colour, alpha=0.4, label="training windows")
axes.axhline(zlib_bits, color="gray", linestyle=":", label="zlib on the held-out files")
axes.set(xlabel="bytes read in training, thousands", ylabel="bits per byte")
axes.set_title("A minute of training nears zlib on code that the model never saw")
axes.legend()
plt.show()

# %% [markdown]
# ## Save the model and a state
#
# Read a text once and save the state to a file: you can continue from it without reading the text again. The `.keras`
# file needs no `custom_objects`.

# %%
READ, OTHERS = 1024, ("torch", "jax", "tensorflow")

# %% tags=["test"]
if SMALL:
    READ, OTHERS = 64, [name for name in OTHERS if name != keras.backend.backend()][:1]

# %%
folder = Path(tempfile.mkdtemp())
read, rest = code[:READ], code[READ : READ + READ // 2]
state = model.prefill(read)
print(state)
model.save(folder / "model.keras")
save_state(state, folder / "read.safetensors")
for path in sorted(folder.iterdir()):
    print(f"{path.name}: {path.stat().st_size:,} bytes")

# %% [markdown]
# `advance` continues from a state by any number of tokens and returns their logits. They equal the logits of one pass,
# wherever you cut the text.
#
# **Expect** the loaded state to give the same logits as one pass over both parts, within 1e-4 of the largest logit.

# %%
tokens = np.array([model.tokenizer.encode(rest)])
here = keras.ops.convert_to_numpy(model.advance(tokens, load_state(folder / "read.safetensors"))[0])
largest = np.abs(here).max()
in_one_pass = model.predict(np.array([model.tokenizer.encode(read + rest)]), verbose=0)[
    :, -tokens.shape[1] :
]
difference = np.abs(in_one_pass - here).max() / largest
print(f"one pass: {difference:.1e} of the largest logit")

# %% tags=["test"]
assert difference < 1e-4

# %% [markdown]
# ## Another process, another backend
#
# The script below runs in a new process on each other installed backend. It loads the model and the state, advances by
# the same tokens, and generates some code from there.
#
# **Expect** each backend to give the same logits within 1e-5 of the largest one; the only difference is rounding.

# %%
elsewhere = """
import sys
import keras_griffin, keras, numpy
from keras_griffin.generation import load_state
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/model.keras")
state = load_state(folder + "/read.safetensors")
logits, state = model.advance(numpy.load(folder + "/tokens.npy"), state)
numpy.save(folder + "/logits.npy", keras.ops.convert_to_numpy(logits))
print(repr(model.generate("", 40, state=state, sampler="top_p", seed=1)))
"""
np.save(folder / "tokens.npy", tokens)
differences = {}
for backend in OTHERS:
    if backend == keras.backend.backend() or importlib.util.find_spec(backend) is None:
        continue
    command = [sys.executable, "-c", elsewhere, str(folder)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    said = subprocess.check_output(command, env=environment, text=True, stderr=subprocess.DEVNULL)
    differences[backend] = np.abs(np.load(folder / "logits.npy") - here).max() / largest
    print(
        f"{backend}: {differences[backend]:.1e} of the largest logit; it continues {said.strip()}"
    )

# %% tags=["test"]
assert all(difference < 1e-5 for difference in differences.values())

# %% [markdown]
# ## Exercises
#
# 1. Train for 6,000 steps and find where the held-out curve crosses `zlib`'s line. How many bits does `lzma` need?
# 2. Replace `config` by `config.replace(block_pattern=("recurrent",))`, a Hawk, and by `("local_mqa",)`. Which of the
#    three predicts best after the same number of steps, and how large is the state of each?
# 3. Read a module of your own with `model.prefill`, fork its state with `state.repeat(4)`, and continue in four rows
#    with `model.generate([""] * 4, 100, state=..., sampler="temperature")`.
