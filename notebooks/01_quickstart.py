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
# # Quickstart: a small Griffin learns Python
#
# Griffin ([De et al. 2024](https://arxiv.org/abs/2402.19427)) mixes gated linear recurrences with local attention. You
# train a small one on the bytes of Python's own standard library, which is already on your disk, and sample from it.
# Then you save the model, together with its state after a text, and another process continues from both on another
# backend. The whole notebook takes about two minutes on two cores.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "jax")
# The tests' settings: a few steps, and no check of what training reaches.
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import keras_griffin

print("keras_griffin", keras_griffin.__version__)

# %%
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras_griffin.generation import TopP, load_state, save_state
from keras_griffin.inspection import cache_bytes, plot_decode_cost
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer, presets
from keras_griffin.tasks.text import compressed_bits_per_byte, load_corpus
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import (
    AdamW,
    BitsPerByte,
    HeldOutWindows,
    RandomWindows,
    warm_up_then_cosine,
)

keras.utils.set_random_seed(0)
plt.rcParams["figure.dpi"] = 90
print("Keras", keras.__version__, "on", keras.backend.backend())
print(keras_griffin.ops.explain("linear_scan", shape=(8, 128, 128)))

# %% [markdown]
# ## The text
#
# The library is split by file: you evaluate the model on files that it never sees in training. As a baseline, `zlib`
# compresses the held-out files to about 2 bits per byte.

# %%
corpus = load_corpus(seed=0)
zlib_bits = compressed_bits_per_byte(corpus.validation)["zlib"]
print(f"{len(corpus.train):,} bytes to train on, {len(corpus.validation):,} held out")
print(f"zlib: {zlib_bits:.2f} bits per byte of the held-out files")

# %% [markdown]
# ## The model
#
# The model has two recurrent blocks, then one block of local attention over the newest 64 bytes. One frozen config
# determines every shape and counts the parameters before you build anything. With a tokenizer, the model takes and
# returns text; the tokenizer here maps each byte to one token.

# %%
config = GriffinConfig(
    vocabulary_size=256, width=32 if SMALL else 96, num_layers=3, num_heads=2, window=64
)
print(config.mixer_names)
print(f"{config.parameter_count():,} parameters")
model = Griffin(config, tokenizer=ByteTokenizer())

# %% [markdown]
# The model is a functional Keras model: `compile` and `fit` are Keras's own. A uniform guess among 256 bytes costs 8
# bits. The command line's `train` reaches 1.54 bits in ten minutes on one core, where the compressor `lzma` needs 1.64
# and `zlib` 1.95. Here 64 windows of the held-out files tell how far a minute goes.
#
# **Expect** between 1.9 and 2.4 bits per byte: the model learns keywords, indentation and common names.

# %%
steps, epochs = (4, 2) if SMALL else (600, 12)
model.compile(
    AdamW(warm_up_then_cosine(4e-3, steps)), model.loss, weighted_metrics=[BitsPerByte(name="bits")]
)
history = model.fit(
    RandomWindows(corpus.train, sequence_length=128, batch_size=8, num_batches=steps // epochs),
    validation_data=HeldOutWindows(
        corpus.validation, sequence_length=128, batch_size=8, windows=8 if SMALL else 64
    ),
    epochs=epochs,
    verbose=0,
).history
bits = history["val_bits"][-1]
print(f"{bits:.2f} bits per byte")
assert SMALL or 1.9 < bits < 2.4

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
bytes_read = np.arange(1, epochs + 1) * (steps // epochs) * 8 * 128 / 1000
axes.plot(bytes_read, history["bits"], marker=".", label="training windows")
axes.plot(bytes_read, history["val_bits"], marker=".", label="held-out files")
axes.axhline(zlib_bits, color="gray", linestyle=":", label="zlib on the held-out files")
axes.set(
    xlabel="bytes read in training, thousands",
    ylabel="bits per byte",
    title="Training lowers the bits per byte of held-out code",
)
axes.legend()
plt.show()

# %% [markdown]
# ## Generate text
#
# `generate` continues prompts of different lengths in one batch. A row's output does not depend on its batch, and there
# is no padding. `TopP(0.9)` samples among the likeliest bytes that together have a probability of 0.9, and `seed` makes
# the text repeatable.

# %%
sampler = TopP(0.9, temperature=0.8)
texts = model.generate(
    ["def __init__(self, ", "import os\n\nclass "], 40 if SMALL else 160, sampler=sampler, seed=1
)
for text in texts:
    print(text)
    print("-" * 60)

# %% [markdown]
# `stream` yields the same text piece by piece, as the model generates it. A piece is one byte here, or the bytes of one
# character. Stop whenever you like: `stream.state` is the state after the last piece, and another call can continue
# from it.
#
# **Expect** the first of the texts above, cut off after 3 lines at the latest.

# %%
stream = model.stream("def __init__(self, ", 40 if SMALL else 160, sampler=sampler, seed=1)
pieces = []
for piece in stream:
    print(piece, end="", flush=True)
    pieces.append(piece)
    if "".join(pieces).count("\n") == 3:
        break
print(f"\n\n{len(pieces)} pieces; {stream.state}")
assert (
    texts[0].startswith("def __init__(self, " + "".join(pieces))
    and "".join(pieces).count("\n") <= 3
)

# %% [markdown]
# ## The size of the state
#
# The state holds everything that the model keeps of the text so far: the vectors of two recurrences, the last three
# inputs of their convolutions, and the newest 64 keys and values of the attention. A Transformer keeps the keys and
# values of every token. Measure both, with a Transformer of the same width and depth.
#
# **Expect** the Griffin's state to have the same size from 16 to 4,096 bytes of text, and the Transformer's to grow
# more than 100 times.

# %%
code = corpus.validation[:20_000].tobytes().decode(errors="replace")
transformer = MQATransformer(
    config.replace(block_pattern=("global_mqa",)), tokenizer=ByteTokenizer()
)
lengths = [16, 64] if SMALL else [16, 256, 4096]
sizes = [model.prefill(code[:length]).num_bytes for length in lengths]
transformer_sizes = [transformer.prefill(code[:length]).num_bytes for length in lengths]
for length, size, transformer_size in zip(lengths, sizes, transformer_sizes, strict=True):
    print(f"{length:>5} bytes read: Griffin {size:>10,} bytes, Transformer {transformer_size:>10,}")
assert len(set(sizes)) == 1
assert SMALL or (
    lengths[0] == 16 and lengths[-1] == 4096 and transformer_sizes[-1] > 100 * transformer_sizes[0]
)

# %% [markdown]
# On the left, the lines are what `cache_bytes` predicts from the config alone, and the points are measured. The
# Griffin's first point lies above its line and above the Transformer's, because the buffer holds all 64 keys from the
# first byte. On the right are two of the paper's models, with 1.3 billion parameters each; the Griffin's window is
# 1,024 tokens.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
contexts = 2 ** np.arange(4, 18)
for name, each, measured in (
    ("Griffin", config, sizes),
    ("Transformer", transformer.config, transformer_sizes),
):
    [line] = left.plot(
        contexts, [cache_bytes(each, int(n), "float32") for n in contexts], label=name
    )
    left.plot(lengths, measured, "o", color=line.get_color(), label=f"{name}, measured")
left.set(
    xscale="log", yscale="log", xlabel="context, bytes of text", ylabel="state of one row, bytes"
)
left.set_title("This model: the state stops growing")
left.legend()
models = {"Griffin 1.3B": presets()["griffin_1.3b"], "Transformer 1.3B": presets()["mqa_1.3b"]}
plot_decode_cost(models, quantity="cache_bytes", axes=right)
right.set(ylabel="state of one row, bytes", title="The paper's 1.3B models, in bfloat16")
plt.show()

# %% [markdown]
# ## Save the model and a state
#
# Read a text once and save the state to a file: you can continue from it without reading the text again. The `.keras`
# file needs no `custom_objects`.

# %%
folder = Path(tempfile.mkdtemp())
length = 64 if SMALL else 1024
read, rest = code[:length], code[length : length + length // 2]
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
print(repr(model.generate("", 40, state=state)))
"""
np.save(folder / "tokens.npy", tokens)
others = [
    backend for backend in ("torch", "jax", "tensorflow") if backend != keras.backend.backend()
]
for backend in others[:1] if SMALL else others:
    if importlib.util.find_spec(backend) is None:
        print(f"{backend}: not installed, skipped")
        continue
    command = [sys.executable, "-c", elsewhere, str(folder)]
    process = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    difference = np.abs(np.load(folder / "logits.npy") - here).max() / largest
    print(
        f"{backend}: {difference:.1e} of the largest logit; it continues with {process.stdout.strip()}"
    )
    assert difference < 1e-5

# %% [markdown]
# ## Exercises
#
# 1. Train for 6,000 steps and find where the held-out curve crosses `zlib`'s line. How many bits does `lzma` need?
# 2. Replace `config` by `config.replace(block_pattern=("recurrent",))`, a Hawk, and by `("local_mqa",)`. Which of the
#    three predicts best after the same number of steps, and how large is the state of each?
# 3. Read a module of your own with `model.prefill`, fork its state with `state.repeat(4)`, and continue in four rows
#    with `model.generate([""] * 4, 100, state=..., sampler="temperature")`.
