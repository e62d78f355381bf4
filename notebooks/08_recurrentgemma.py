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
# # RecurrentGemma: load, chat, score, fine-tune
#
# **Learned here:** the calls that load, chat with, score and fine-tune RecurrentGemma; that its state stays at 17 MB a row where
# a cache of keys and values grows to gigabytes; and that LoRA teaches a model eight answers word for word while its own weights
# stay as they are, in a file far smaller than the model.
#
# RecurrentGemma ([Botev et al. 2024](https://arxiv.org/abs/2404.07839)) is a Griffin that Google DeepMind trained and
# released. Its weights are behind a licence, so this notebook uses `python_tiny`, which knows Python and nothing else, in the
# same layout: its answers are Python until it is fine-tuned, but every call is the one for the real model. The tokenizer, like
# the released one, needs the extra `tokenizers`.

# %%
import os

# Before Keras is imported: "jax", "torch" or "tensorflow".
os.environ.setdefault("KERAS_BACKEND", "torch")

# %% tags=["test"]
SMALL = "NOTEBOOK_SMALL" in os.environ

# %%
import json
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import tokenizers
from keras_griffin.conversion import save_huggingface
from keras_griffin.generation import TopP
from keras_griffin.inspection import cache_bytes, decode_cost, plot_decode_cost
from keras_griffin.inspection.plots import COLOURS, FAMILY_COLOURS
from keras_griffin.models import Griffin, LanguageModel, presets
from keras_griffin.tasks.text import load_corpus
from keras_griffin.tokenizers import HuggingFaceTokenizer, chat_prompt, next_turn
from keras_griffin.training import PackedDocuments, default_optimizer, read_chats

print("Keras", keras.__version__, "on", keras.backend.backend())
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A checkpoint in the released layout
#
# The layout asks for what `python_tiny` lacks: gates in as many blocks as there are heads, scaled embeddings, a soft cap on
# logits, and Gemma's special tokens. `in_released_layout` writes the same weights in that form. `save_huggingface` writes the
# folder that `transformers` would, `config.json`, `model.safetensors`, `tokenizer.json`, and `special_ids.json`, which only
# this library reads. Run this part with the real weights too: later cells use its text and vocabulary; sizes and comparisons
# after **Expect** are those of the small checkpoint.

# %%
ANSWERED, LONG, EPOCHS, ASKED = 40, 10_000, 80, 8

# %% tags=["test"]
if SMALL:
    ANSWERED, LONG, EPOCHS, ASKED = 4, 500, 2, 2

# %% jupyter={"source_hidden": true}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]


def in_released_layout(tiny, tokenizer):
    """A Griffin with the weights of another, and the settings that RecurrentGemma has."""
    width, heads, learnt = tiny.config.width, tiny.config.num_heads, tiny.config.vocabulary_size
    config = tiny.config.replace(
        vocabulary_size=learnt + len(SPECIAL),
        recurrence_width=tiny.config.recurrence_width,
        num_gate_blocks=heads,
        scale_embeddings=True,
        logits_soft_cap=30.0,
    )
    made = Griffin(config, tokenizer=tokenizer)
    for old, new in zip(tiny.weights, made.weights, strict=True):
        value = keras.ops.convert_to_numpy(keras.ops.stop_gradient(old.value))
        if old.path.endswith("blocks/kernel"):
            # A block of the new matrix holds many of the old ones on its diagonal.
            count, size, _ = value.shape
            diagonal = np.zeros((count, size, count, size), "float32")
            diagonal[np.arange(count), :, np.arange(count)] = value
            split = diagonal.reshape(heads, new.shape[1], heads, new.shape[1])
            value = split[np.arange(heads), :, np.arange(heads)]
        elif old.path.endswith("blocks/bias"):
            value = value.reshape(new.shape)
        elif old.path.startswith("token_embedding"):
            # The special tokens begin at random among the others, and the model scales all by the root of its width.
            new_rows = np.random.default_rng(0).normal(
                value.mean(0), value.std(0), (len(SPECIAL), width)
            )
            value = np.concatenate([value, new_rows.astype("float32")])
            value = value / np.sqrt(width)
        elif old.path.startswith("final_norm"):
            value = (1 + value) * np.sqrt(width) - 1
        new.assign(value)
    return made


# %%
tiny = LanguageModel.from_preset("python_tiny")
tiny.tokenizer.save(folder / "learnt")
vocabulary = tokenizers.Tokenizer.from_file(str(folder / "learnt" / "tokenizer.json"))
vocabulary.add_special_tokens(SPECIAL)
made = in_released_layout(tiny, HuggingFaceTokenizer(vocabulary))
save_huggingface(made, folder / "checkpoint")
for path in sorted((folder / "checkpoint").iterdir()):
    print(f"{path.name:<20}{path.stat().st_size:>10,} bytes")

# %% [markdown]
# ## Load
#
# For the real weights, accept the licence on Hugging Face, install the extras `hub` and `tokenizers`, and replace the
# two lines below the comment by the two commented ones.
#
# **Expect** the same logits as from the saved model, bit for bit: the largest difference is 0.

# %%
# checkpoint = "hf://google/recurrentgemma-2b-it"
# model = Griffin.from_preset(checkpoint, dtype="bfloat16")
checkpoint = folder / "checkpoint"
model = Griffin.from_preset(checkpoint)

print(f"{model.count_params():,} parameters, {' '.join(model.config.mixer_names)}")
tokens = np.array([model.tokenizer.encode("import os\n")])
loaded, original = (
    keras.ops.convert_to_numpy(keras.ops.stop_gradient(m(tokens))) for m in (model, made)
)

# %% tags=["test"]
assert np.abs(loaded - original).max() == 0

# %% [markdown]
# ## Chat
#
# Instruction-tuned Gemma models expect markers around each turn, and end their own turns with `<end_of_turn>`.
# `chat_prompt` formats the first turn and `next_turn` each later one. The model reads a later turn from the state, so
# it never reads a turn twice. If an answer is cut off, `answer` appends its end, so that the state always covers whole
# turns. (In a terminal, `python -m keras_griffin chat --model FOLDER` does all this.)

# %%
(END_OF_TURN,) = model.tokenizer.encode("<end_of_turn>", start=False)


def answer(model, message, state=None, sampler="greedy", seed=None):
    """The answer to a message, and the state after it, from which the chat continues."""
    framed = chat_prompt(message) if state is None else next_turn(message)
    prompt = model.tokenizer.encode(framed, start=state is None)
    stop_ids = model.tokenizer.stop_ids
    (row,), state = model.generate(
        [prompt],
        ANSWERED,
        sampler=sampler,
        seed=seed,
        stop_ids=stop_ids,
        state=state,
        return_state=True,
    )
    written = row[len(prompt) :]
    if written[-1] != END_OF_TURN:
        state = model.prefill([[END_OF_TURN]], state=state)
    return model.tokenizer.decode(written), state


print(chat_prompt("What does a recurrence keep?"))
first, state = answer(model, "What does a recurrence keep?", sampler=TopP(0.9), seed=0)
print(f"{first!r}\n{state}")
second, later = answer(model, "And after a million tokens?", state, sampler=TopP(0.9), seed=1)
print(f"{second!r}\n{later}")

# %% [markdown]
# The answers are the Python that `python_tiny` knows, cut off. The state does not grow after the second turn, nor after a long
# text.
#
# **Expect** 142,868 bytes each time.

# %%
text = load_corpus(seed=0).validation[:LONG].tobytes().decode(errors="ignore")
long = model.prefill([text])
print(long)

# %% tags=["test"]
assert state.num_bytes == later.num_bytes == long.num_bytes == 142_868

# %% [markdown]
# `stream` yields the text as the model generates it, in pieces that never split a character.

# %%
for piece in model.stream(
    "def read(path):\n", ANSWERED, sampler=TopP(0.9, temperature=0.7), seed=1
):
    print(piece, end="")

# %% [markdown]
# ## Score
#
# `score` returns the log-probability of each token, given those before it. Its sum over a continuation tells you how
# likely that continuation is, so you can compare two. Leave out the tokens of the shared prompt.
#
# **Expect** the scores to equal the log-softmax of the logits, within 1e-4.


# %%
def log_probability(model, message, answers):
    """For each answer, the log-probability of its tokens and of the end of the turn, given the message."""
    prompt = model.tokenizer.encode(chat_prompt(message))
    rows = [[*prompt, *model.tokenizer.encode(text, start=False), END_OF_TURN] for text in answers]
    return np.array([scores[len(prompt) :].sum() for scores in model.score(rows)])


QUESTION, RIGHT, WRONG = (
    "How far does local attention look?",
    "As far as its window.",
    "At the whole text.",
)
before = log_probability(model, QUESTION, [RIGHT, WRONG])
print(f"{RIGHT!r}: {before[0]:.1f}    {WRONG!r}: {before[1]:.1f}")

scores = model.score(tokens)
shifted = keras.ops.convert_to_numpy(keras.ops.log_softmax(loaded))[:, :-1]
by_hand = np.take_along_axis(shifted, tokens[:, 1:, None], axis=-1)[..., 0]

# %% tags=["test"]
assert np.abs(scores[:, 1:] - by_hand).max() < 1e-4

# %% [markdown]
# ## Memory of the real model
#
# `decode_cost` and `cache_bytes` predict from sizes alone, so you need no weights. Compare the 2B model with a model of
# the same sizes whose layers are all global attention (with one key head, as in multi-query attention), in bfloat16.
#
# **Expect** 17,238,016 bytes per row at 8,192 tokens and at 131,072; with global attention, 218,103,808 bytes and
# 3,489,660,928. The weights of the 2B model take 5,365,724,160 bytes: with few rows and short contexts, they dominate.

# %%
griffin = presets()["recurrentgemma_2b"]
attention = griffin.replace(block_pattern=("global_mqa",))
for tokens_read in (8192, 131_072):
    print(
        f"{tokens_read:>7,} tokens: {cache_bytes(griffin, tokens_read):>13,} bytes of state,",
        end=" ",
    )
    print(f"{cache_bytes(attention, tokens_read):>13,} of a KV cache")

# %% tags=["test"]
assert [cache_bytes(griffin, n) for n in (8_192, 131_072)] == [17_238_016] * 2
assert cache_bytes(attention, 8_192) == 218_103_808
assert cache_bytes(attention, 131_072) == 3_489_660_928
assert decode_cost(griffin, 1, 8_192).parameter_bytes == 5_365_724_160

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots()
plot_decode_cost({"Griffin": griffin, "MQA": attention}, quantity="cache_bytes", axes=axes)
weights = decode_cost(griffin, 1, 8192).parameter_bytes
axes.axhline(weights, color="gray", linestyle=":", label="weights of the 2B model")
axes.legend(axes.lines, ["RecurrentGemma 2B", "global attention", "weights of the 2B model"])
axes.set(ylabel="bytes per row", title="The state of RecurrentGemma 2B stops growing (predicted)")
plt.show()

# %% [markdown]
# ## Fine-tune with LoRA
#
# The training file is JSON Lines, one conversation per line, in the format that most tools share. `read_chats` formats
# each conversation as `chat_prompt` does, and gives weight only to what the model must generate: the answers and their
# end markers.

# %%
TAUGHT = {
    "Who are you?": "A small Griffin, fine-tuned in a notebook.",
    "What does a recurrence keep?": "One vector, of one size.",
    "How large is your state?": "The same after one token and after a million.",
    "How far does local attention look?": "As far as its window.",
    "What stands in a recurrent block?": "A convolution, a gated recurrence and a gate.",
    "What does LoRA train?": "Two thin matrices beside each kernel.",
    "Which weights stay as they were?": "All those of the base.",
    "On which backends do you run?": "JAX, PyTorch and TensorFlow.",
}
lines = [
    {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer_text},
        ]
    }
    for question, answer_text in TAUGHT.items()
]
(folder / "chats.jsonl").write_text("\n".join(map(json.dumps, lines)))
chats = read_chats(folder / "chats.jsonl", model.tokenizer)
data = PackedDocuments(chats.documents, sequence_length=128, batch_size=4, weights=chats.weights)
print(data.counts)

# %% [markdown]
# An adapter of rank r is a pair of matrices A (D, r) and B (r, U) beside a kernel (D, U); nothing else is trained. All
# projections of mixers and MLPs get one. The config determines the number of trained parameters, so you can compute it
# for the 2B model without its weights.
#
# **Expect** 117,248 trained parameters here, and 19,234,816 beside 2,682,862,080 in the 2B model.


# %%
def adapter_parameters(config, rank):
    """The number of adapter weights over all projections."""
    d, r, heads, keys = (
        config.width,
        config.recurrence_width,
        config.num_heads,
        config.num_key_value_heads,
    )
    queries, key = heads * config.head_dim, keys * config.head_dim
    mixers = {"recurrent": 3 * (d + r), "local_mqa": 2 * (d + queries) + 2 * (d + key)}
    return rank * sum(mixers[name] + 3 * (d + config.mlp_width) for name in config.mixer_names)


base = {variable.path: keras.ops.convert_to_numpy(variable).copy() for variable in model.weights}
model.enable_lora(8)
trained = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
print(f"{trained:,} of {model.count_params():,} parameters are trained")
print(
    f"2B model, rank 16: {adapter_parameters(griffin, 16):,} beside {griffin.parameter_count():,}"
)

# %% tags=["test"]
assert trained == adapter_parameters(model.config, 8) == 117_248
assert adapter_parameters(griffin, 16) == 19_234_816
assert griffin.parameter_count() == 2_682_862_080

# %% [markdown]
# Train with `fit`. `packed` shares the layers of the model and reads several conversations in one row, each
# independently of the others. Eight answers in a language that the base does not know need a learning rate of 1e-2; for
# released weights, use 1e-4 to 3e-4.

# %%
packed = model.packed(logits=False)
packed.compile(default_optimizer(model, 1e-2, steps=EPOCHS * data.num_batches, beta_2=0.99))
losses = packed.fit(data, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]


# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(7.3, 2.8))
axes.plot(np.arange(1, len(losses) + 1), losses, color=FAMILY_COLOURS["Griffin"])
uniform = np.log(model.config.vocabulary_size)
axes.axhline(uniform, color="gray", linestyle=":", label="a uniform guess")
axes.set(xlabel="epoch", ylabel="nats per answer token", ylim=(0, None))
axes.set_title("The adapters learn the answers; the base does not change")
axes.legend()
plt.show()

# %% [markdown]
# **Expect** all 8 answers word for word, a final loss below 0.6 nats (from more than 3), and a base
# whose largest change is 0.


# %%
def right_answers(model):
    """The number of questions that get the taught answer word for word, and all answers."""
    asked = list(TAUGHT)[:ASKED]
    given = {question: answer(model, question)[0] for question in asked}
    return sum(given[question] == TAUGHT[question] for question in asked), given


count, given = right_answers(model)
for question, words in given.items():
    print(f"{question:<36}{words!r}")
changes = [
    np.abs(keras.ops.convert_to_numpy(v) - base[v.path]).max()
    for v in model.weights
    if v.path in base
]

# %% tags=["test"]
assert SMALL or count == 8
assert SMALL or (losses[0] > 3 and losses[-1] < 0.6)
assert len(changes) == len(base) and max(changes) == 0

# %% [markdown]
# ## What surprises the model
#
# A token's score in bits, `-log2 p`, is its surprise. Training teaches the answer. The question has no weight in the
# loss: any change for its tokens is a side effect, and not necessarily an improvement.
#
# **Expect** more than 5 bits per answer token before fine-tuning (a uniform guess among 1,029 needs more than 10), and less
# than 2 after.

# %%
untouched = Griffin.from_preset(checkpoint)
turn = model.tokenizer.encode(chat_prompt(QUESTION))
row = [*turn, *model.tokenizer.encode(TAUGHT[QUESTION], start=False), END_OF_TURN]
bits = {
    name: -m.score([row])[0] / np.log(2)
    for name, m in {"before": untouched, "after": model}.items()
}
of_answer = {name: surprise[len(turn) :].mean() for name, surprise in bits.items()}
print({name: f"{value:.2f} bits per answer token" for name, value in of_answer.items()})

# %% tags=["test"]
assert of_answer["before"] > 5 and np.log2(1029) > 10
assert SMALL or of_answer["after"] < 2


# %% jupyter={"source_hidden": true}
def label(token_id):
    """The text of a token, with visible signs for special tokens and line ends."""
    name = vocabulary.id_to_token(token_id) if not model.tokenizer.token_bytes(token_id) else None
    text = name or model.tokenizer.token_bytes(token_id).decode(errors="replace")
    return (
        text.replace("<start_of_turn>", "<start>")
        .replace("<end_of_turn>", "<end>")
        .replace("\n", "↵")
    )


places = np.arange(len(row))
figure, panels = plt.subplots(2, figsize=(8.5, 4.2), sharex=True, sharey=True)
for axes, (name, surprise) in zip(panels, bits.items(), strict=True):
    axes.bar(places, surprise, color=np.where(places < len(turn), "gray", COLOURS[1]))
    axes.axhline(np.log2(model.config.vocabulary_size), color="gray", linestyle=":")
    axes.set_ylabel("bits")
    axes.set_title(f"{name} fine-tuning: {of_answer[name]:.1f} bits per answer token (red)")
names = [label(token_id) for token_id in row]
panels[-1].set_xticks(places, names, rotation=90, fontsize=7, family="monospace")
plt.show()

# %% [markdown]
# Compare the two continuations again, and for every question compare its own answer with all the others.
#
# **Expect** the taught answer to be the more likely one, and 8 of 8.

# %%
after = log_probability(model, QUESTION, [RIGHT, WRONG])
for name, (right, wrong) in {"before": before, "after": after}.items():
    print(f"{name:<8}{RIGHT!r}: {right:.1f}    {WRONG!r}: {wrong:.1f}")
answers = list(TAUGHT.values())
chosen = [int(np.argmax(log_probability(model, question, answers))) for question in TAUGHT]
print(
    f"own answer most likely: {sum(choice == place for place, choice in enumerate(chosen))} of {len(answers)}"
)

# %% tags=["test"]
assert SMALL or after[0] > after[1]
assert SMALL or sum(choice == place for place, choice in enumerate(chosen)) == 8

# %% [markdown]
# ## Keep and merge
#
# `save_adapter` writes only A and B. A base loaded afresh with that file gives the same answers. `merge_lora` adds the
# products to the kernels: the model is an ordinary one again, and `save_huggingface` writes it for `transformers`.
#
# **Expect** the same number of right answers three times, and logits that differ by less than 1e-3 (they range up to 30).

# %%
model.save_adapter(folder / "adapter.safetensors")
fresh = Griffin.from_preset(checkpoint)
fresh.load_adapter(folder / "adapter.safetensors")
with_adapter = keras.ops.convert_to_numpy(keras.ops.stop_gradient(fresh(np.array([row]))))
of_fresh, _ = right_answers(fresh)

fresh.merge_lora()
merged = keras.ops.convert_to_numpy(keras.ops.stop_gradient(fresh(np.array([row]))))
save_huggingface(fresh, folder / "tuned")
tuned = Griffin.from_preset(folder / "tuned")
of_tuned, _ = right_answers(tuned)
for path in (folder / "adapter.safetensors", folder / "checkpoint" / "model.safetensors"):
    print(f"{path.name:<24}{path.stat().st_size:>10,} bytes")
difference = np.abs(merged - with_adapter).max()
print(
    f"right answers: {count} with the adapter, {of_fresh} loaded, {of_tuned} merged; logits differ by {difference:.0e}"
)

# %% tags=["test"]
assert SMALL or count == of_fresh == of_tuned
assert difference < 1e-3 and np.abs(merged).max() <= 30

# %% [markdown]
# ## Exercises
#
# 1. Rephrase the questions ("How far does attention look?"). Which still get the right answer, and what would the
#    conversations have to contain so that more do?
# 2. Train adapters of the mixers alone, `enable_lora(8, targets=["query", "value", "mixer/gate"])`, and adapters of
#    rank 1. How many answers does the model learn, and with how many parameters?
# 3. Quantise a base loaded afresh with `quantize("int8")` before `enable_lora`. What does `merge_lora` say, and how
#    does [the guide](../docs/guides/fine_tuning.md) still get a merged model?
