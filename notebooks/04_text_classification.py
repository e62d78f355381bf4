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
# # Classify text from the state of a language model
#
# **Learned here:** a language model that only ever predicted the next token of Python knows, in its state, whether it is inside a
# comment, a docstring, another string or code. A linear layer reads that from 704 numbers and is right for nine of ten
# tokens of files that the model has never seen; from the token alone it is right for six. Training it takes seconds, since the
# language model stays as it is.
#
# So a state is a summary of a text that you can classify: here token by token, in text that begins and ends anywhere, where a
# parser needs a whole file. The model is `python_tiny`, which comes with the library; its tokenizer needs the extra
# `tokenizers`.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "jax")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import html
import io
import sysconfig
import tokenize
from pathlib import Path

from keras_griffin.inspection.plots import COLOURS
from keras_griffin.models import LanguageModel
from keras_griffin.tasks.text import load_corpus

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display

model = LanguageModel.from_preset("python_tiny")
print(f"{model.count_params():,} parameters, {' '.join(model.config.mixer_names)}")
LENGTH, ROWS = 512, 64

# %% tags=["test"]
if SMALL:
    LENGTH, ROWS = 64, 2

# %% [markdown]
# ## Labels that cost nothing
#
# Python's own `tokenize` says what each character of a file is. The files are those of the standard library that were held out
# when the model was trained: from the first half of them the linear layer learns, on the second it is tested. A row of 512
# tokens begins anywhere in a file, so the model must find out where it is.

# %%
CLASSES = ("code", "string", "docstring", "comment")
SPACE = (tokenize.NL, tokenize.COMMENT)


def classes_of(text):
    """The class of each character."""
    starts = np.cumsum([0, *map(len, text.splitlines(keepends=True))])
    found, before = np.zeros(len(text), int), tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
        if token.type == tokenize.COMMENT:
            found[first:last] = CLASSES.index("comment")
        elif token.type == tokenize.STRING:
            alone = before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
            found[first:last] = CLASSES.index("docstring" if alone else "string")
        before = before if token.type in SPACE else token.type
    return found


def rows_of(names):
    """Token ids and classes, `(ROWS, LENGTH)` each; a token has the class of its last character."""
    ids, classes = [], []
    for name in names:
        text = Path(sysconfig.get_path("stdlib"), name).read_text("utf-8")
        # So that characters are bytes.
        if text.isascii():
            tokens = model.tokenizer.encode(text, start=False)
            ends = np.cumsum([len(model.tokenizer.token_bytes(token)) for token in tokens])
            for start in range(0, len(tokens) - LENGTH + 1, LENGTH):
                ids.append(tokens[start : start + LENGTH])
                classes.append(classes_of(text)[ends[start : start + LENGTH] - 1])
    chosen = np.random.default_rng(0).permutation(len(ids))[:ROWS]
    return np.array(ids, "int32")[chosen], np.array(classes)[chosen]


# Tables of characters are not what one reads.
files = [name for name in load_corpus(seed=0).validation_files if "encodings" not in name]
(ids, classes), (test_ids, test_classes) = rows_of(files[::2]), rows_of(files[1::2])
shares = np.bincount(test_classes.ravel(), minlength=4) / test_classes.size
print({name: f"{share:.0%}" for name, share in zip(CLASSES, shares, strict=True)})

# %% [markdown]
# ## The states
#
# `model.trace` reads a row and records what every recurrence holds after each token: in each of the recurrent blocks, a vector
# of 176 numbers.


# %%
def states(ids):
    """`(rows, tokens, numbers)`: the states of all recurrences, side by side."""
    layers = [model.trace(row).layers.values() for row in ids]
    return np.stack(
        [np.concatenate([layer.values["state"] for layer in each], axis=-1) for each in layers]
    )


known, unknown = states(ids), states(test_ids)
print(f"{known.shape[-1]} numbers after each of {classes.size:,} tokens")

# %% [markdown]
# ## A linear layer
#
# The same layer learns three times: from the states; from the token alone, which tells what a classifier of single tokens
# would know; and from the states of one block at a time. The first 64 tokens of a row are left out, where the model has seen
# little.
#
# **Expect** more than 0.8 of the tokens right from 704 numbers of the state, and 0.5 to 0.7 from the token alone.

# %%
SETTLED = LENGTH // 8


def answers(features, test_features):
    """The classes that a linear layer gives the test rows, `(rows, tokens)`."""
    mean, deviation = features.mean(axis=(0, 1)), features.std(axis=(0, 1)) + 1e-6
    features, test_features = (
        ((each - mean) / deviation)[:, SETTLED:].astype("float32")
        for each in (features, test_features)
    )
    keras.utils.set_random_seed(0)
    inputs = keras.Input((features.shape[-1],))
    layer = keras.Model(inputs, keras.layers.Dense(len(CLASSES), activation="softmax")(inputs))
    layer.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    flat = features.reshape(-1, features.shape[-1])
    layer.fit(flat, classes[:, SETTLED:].ravel(), batch_size=256, epochs=8, verbose=0)
    found = layer.predict(test_features.reshape(-1, flat.shape[1]), batch_size=2048, verbose=0)
    return found.argmax(axis=1).reshape(test_classes[:, SETTLED:].shape)


truth = test_classes[:, SETTLED:]
one_hot = np.eye(model.config.vocabulary_size, dtype="float32")
found = {
    "the token alone": answers(one_hot[ids], one_hot[test_ids]),
    "the state": answers(known, unknown),
}
width = model.config.recurrence_width
for block in range(known.shape[-1] // width):
    part = np.s_[..., block * width : (block + 1) * width]
    found[f"recurrence {block + 1} alone"] = answers(known[part], unknown[part])
right = {name: np.mean(each == truth) for name, each in found.items()}
for name, share in right.items():
    print(f"{name:<20}{share:.1%}")

# %% tags=["test"]
assert known.shape[-1] == 704
assert SMALL or right["the state"] > 0.8
assert SMALL or 0.5 < right["the token alone"] < 0.7

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(7.3, 2.8))
for place, (name, colour) in enumerate((("the state", COLOURS[0]), ("the token alone", "gray"))):
    each = [np.mean(found[name][truth == k] == k) for k in range(len(CLASSES))]
    axes.bar(np.arange(4) + 0.4 * place - 0.2, each, 0.38, color=colour, label=f"from {name}")
axes.set_xticks(range(4), CLASSES)
axes.set(ylabel="share of its tokens right", ylim=(0, 1.2), yticks=np.linspace(0, 1, 5))
axes.set_title("Only the state tells what began many tokens ago")
axes.legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# ## Read a piece of a file
#
# A piece of a test row, each token in the colour of the class that the layer gives it. `tokenize` cannot read it: it begins
# and ends in mid-file.

# %% jupyter={"source_hidden": true}
paint = dict(zip(CLASSES, ("inherit", COLOURS[1], COLOURS[2], COLOURS[0]), strict=True))
# The row whose shown part has most of its rarest class.
rarest = [np.bincount(part, minlength=4).min() for part in truth[:, :220]]
row = int(np.argmax(rarest))
legend = " ".join(f'<span style="color: {colour}">{name}</span>' for name, colour in paint.items())
pieces = [
    f'<span style="color: {paint[CLASSES[kind]]}">{html.escape(model.tokenizer.decode([token]))}</span>'
    for token, kind in zip(test_ids[row, SETTLED:], found["the state"][row], strict=True)
][:220]
display(HTML(f"<p>{legend}</p><pre style='white-space: pre-wrap'>{''.join(pieces)}</pre>"))

# %% [markdown]
# ## Exercises
#
# 1. Let the layer tell how deep the code is indented, or how many brackets are open. Which block's state knows?
# 2. Read Python from elsewhere, such as a package that you have installed. How much worse does the layer become?
# 3. Replace the states by `model.advance_without_logits(ids, model.initial_state(len(ids)))[0]`, the last block's outputs. Why
#    do they know less of the text behind them?
