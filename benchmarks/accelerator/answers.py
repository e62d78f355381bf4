"""What a small Griffin answers: logits, loss, gradients, greedy tokens, and logits of chunks with a carried state.

    python -m benchmarks.accelerator.answers FILE [--small]

writes the answers in float32, with the model's weights, to an .npz file: the process that the device is compared with
runs it on the CPU.
"""

import argparse

import keras
import numpy as np
from keras import ops
from timing import compiled, forward_and_backward

from keras_griffin import backends
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.testing.arrays import as_array

#: Tokens of a prompt, and generated ones.
PROMPT, NEW_TOKENS = 8, 64
#: Two recurrent blocks and one of attention, and the length of a text, which is read in so many chunks.
LARGE = GriffinConfig(1024, 512, 3, 4, window=128), 300
SMALL = GriffinConfig(64, 32, 3, 2, window=16), PROMPT + NEW_TOKENS
CHUNKS = 3


def make(small: bool, dtype: str):
    """The model and its texts, `(2, T + 1)`."""
    config, length = SMALL if small else LARGE
    texts = np.random.default_rng(0).integers(0, config.vocabulary_size, (2, length + 1)).astype("int32")
    return Griffin(config, dtype=dtype), texts


def answers(model, texts) -> dict[str, np.ndarray]:
    """All answers by name; those of the gradients are numbered."""
    inputs, targets = (ops.convert_to_tensor(part) for part in (texts[:, :-1], texts[:, 1:]))
    (loss, logits), gradients = loss_and_gradients(model, inputs, targets)
    tokens = model.generate(texts[:, :PROMPT], NEW_TOKENS)
    return {
        "logits": as_array(logits),
        "loss": as_array(loss),
        **{f"gradient {i}": as_array(gradient) for i, gradient in enumerate(gradients)},
        "tokens": tokens,
        "logits of tokens": as_array(model.predict_on_batch(tokens)),
        "chunks": as_array(logits_of_chunks(model, inputs)),
    }


def loss_and_gradients(model, inputs, targets):
    """((loss, logits), the gradients of the loss for all trainable weights)."""
    variables = model.trainable_variables

    def loss(*weights):
        with keras.StatelessScope(zip(variables, weights, strict=True)):
            logits = model(inputs, training=True)
        return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True))

    weights = [variable.value for variable in variables]
    value, gradients = compiled(forward_and_backward(loss))(ops.ones(()), *weights)
    return (value, model.predict_on_batch(inputs)), gradients


def logits_of_chunks(model, inputs):
    """The logits of a text that is read in chunks."""
    state, chunks = model.initial_state(len(inputs)), []
    advance = backends.active().compiled(model.advance)
    with backends.active().without_gradients():
        for chunk in ops.split(inputs, CHUNKS, axis=1):
            logits, state = advance(chunk, state)
            chunks.append(logits)
        return ops.concatenate(chunks, axis=1)


def main():
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    model, texts = make(options.small, "float32")
    for i, weight in enumerate(model.weights):
        # No weight keeps an initial value that hides it, such as zero.
        weight.assign(as_array(weight) + 0.05 * np.random.default_rng(i).normal(size=weight.shape))
    weights = {f"weight {i}": as_array(weight) for i, weight in enumerate(model.weights)}
    np.savez(options.file, **weights, **answers(model, texts))


if __name__ == "__main__":
    main()
