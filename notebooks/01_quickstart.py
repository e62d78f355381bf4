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
# Griffin ([De et al. 2024](https://arxiv.org/abs/2402.19427)) mixes gated linear recurrences with local attention. Here
# a small one learns to predict the bytes of Python's own standard library: real text that is already on your disk.
#
# The backend is chosen before Keras is imported: set `KERAS_BACKEND`, in the environment or in the next line, and
# everything below stays as it is. Where nobody has, `keras_griffin`, imported first, takes one that is installed.

# %%
import os

# os.environ["KERAS_BACKEND"] = "torch"
import keras_griffin

STEPS = int(os.environ.get("NOTEBOOK_STEPS", 600))

# %%
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras_griffin.generation import TopP
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tasks.text import load_corpus
from keras_griffin.training import (
    AdamW,
    BitsPerByte,
    HeldOutWindows,
    RandomWindows,
    warm_up_then_cosine,
)

print("Keras", keras.__version__, "on", keras.backend.backend())
print(keras_griffin.ops.explain("linear_scan", shape=(16, 128, 176)))

# %% [markdown]
# ## The text
#
# The library is split by file: what the model is judged on is in files that it never sees in training.

# %%
corpus = load_corpus([], seed=0, least_bytes=1000)
print(f"{len(corpus.train):,} bytes to train on, {len(corpus.validation):,} held out")
print(bytes(corpus.train[:200]).decode())

# %% [markdown]
# ## The model
#
# Two recurrent blocks, then one of local attention. One frozen config decides everything, and counts the parameters
# before anything is built.

# %%
config = GriffinConfig(
    vocabulary_size=256, width=128, num_layers=3, num_heads=2, window=64
)
print(config.mixer_names)
print(f"{config.parameter_count():,} parameters")
model = Griffin(config)

# %% [markdown]
# It is an ordinary functional Keras model, so it is trained by `model.fit`. 8 bits per byte is a guess among 256
# equally likely bytes; `zlib` needs about 2 for such text.

# %%
model.compile(
    AdamW(warm_up_then_cosine(4e-3, STEPS)),
    model.loss,
    weighted_metrics=[BitsPerByte(name="bits")],
)
epochs = 4
history = model.fit(
    RandomWindows(
        corpus.train, sequence_length=128, batch_size=16, num_batches=STEPS // epochs
    ),
    validation_data=HeldOutWindows(
        corpus.validation, sequence_length=128, batch_size=16, windows=64
    ),
    epochs=epochs,
    verbose=2,
)

# %% [markdown]
# ## Writing
#
# The state of a Griffin has the same size after one byte and after a million. Prompts of different lengths can be
# continued together: what one gets never depends on the others.

# %%
prompts = [b"def ", b"import os\n\nclass "]
written = model.generate(
    [list(prompt) for prompt in prompts],
    120,
    sampler=TopP(0.9, temperature=0.7),
    seed=1,
)
for row in written:
    print(bytes(row.tolist()).decode(errors="replace"))
    print("-" * 60)

# %% [markdown]
# ## Reading in pieces
#
# `advance` goes on from a state by any number of tokens. Cut anywhere, the numbers are those of one pass.

# %%
tokens = corpus.validation[:100].astype("int32")[None]
whole = keras.ops.convert_to_numpy(model(tokens))

state = model.initial_state(batch_size=1)
first, state = model.advance(tokens[:, :37], state)
rest, state = model.advance(tokens[:, 37:], state)
pieces = np.concatenate([keras.ops.convert_to_numpy(x) for x in (first, rest)], axis=1)
largest = np.abs(whole).max()
print(
    f"largest difference, as a share of the largest logit: {np.abs(pieces - whole).max() / largest:.1e}"
)

# %% [markdown]
# ## Saving, and another backend
#
# The `.keras` file needs no `custom_objects`. Another process loads it on another backend, where one is installed, and
# gets the same logits; here too, the largest difference as a share of the largest logit.

# %%
folder = Path(tempfile.mkdtemp())
model.save(folder / "model.keras")
np.save(folder / "tokens.npy", tokens)

elsewhere = """
import sys
import keras_griffin, keras, numpy
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
logits = keras.ops.convert_to_numpy(model(numpy.load(sys.argv[1] + "/tokens.npy")))
numpy.save(sys.argv[1] + "/logits.npy", logits)
"""
for backend in ("torch", "tensorflow", "jax"):
    if backend == keras.backend.backend():
        continue
    if importlib.util.find_spec(backend) is None:
        print(f"{backend}: not installed")
        continue
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run(
        [sys.executable, "-c", elsewhere, str(folder)],
        env=environment,
        capture_output=True,
        check=True,
    )
    difference = np.abs(np.load(folder / "logits.npy") - whole).max() / largest
    print(f"{backend}: {difference:.1e}")
