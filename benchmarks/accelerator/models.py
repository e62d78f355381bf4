"""The models that are trained and decoded, and their batches."""

import numpy as np
from timing import device

from keras_griffin.models import Griffin, GriffinConfig

#: In place of a preset where sizes are small; as transformers needs it to decode, the recurrence is not wider.
SMALL = GriffinConfig(256, width=64, num_layers=3, num_heads=2, window=32, recurrence_width=64, num_gate_blocks=2)
#: Rows and tokens of a batch.
LARGE_BATCH, SMALL_BATCH = (4, 2048), (2, 64)


def training_policy() -> str:
    """float32 weights, and products in bfloat16; on a CPU everything in float32."""
    return "float32" if device() == "cpu" else "mixed_bfloat16"


def model_of(preset: str | None, dtype: str):
    """The preset with random weights, or the small model for None."""
    return Griffin(SMALL, dtype=dtype) if preset is None else Griffin.from_preset(preset, dtype=dtype)


def batch_of(vocabulary_size: int, size: tuple[int, int]):
    """Packed rows, each of one document, and their targets."""
    rows, length = size
    token_ids = np.random.default_rng(0).integers(0, vocabulary_size, (rows, length + 1)).astype("int32")
    inputs = token_ids[:, :-1]
    return {"token_ids": inputs, "segment_ids": np.ones_like(inputs)}, token_ids[:, 1:]


def trainer(language_model, jit_compile: bool):
    """The model that `fit` trains, with its chunked loss and AdamW."""
    model = language_model.packed(logits=False)
    model.compile(model.optimizer, jit_compile=jit_compile)
    return model


def operations_of_a_step(config: GriffinConfig, size: tuple[int, int]) -> int:
    """6 N for each token, forward and backward, and 12 for each channel of a key that a token sees.

    N counts the table of tied embeddings once, for the logits.
    """
    rows, length = size
    seen = int(np.minimum(np.arange(length) + 1, config.window).sum())
    layers = sum("mqa" in config.mixer_names[index] for index in config.block_indices)
    return rows * (6 * config.parameter_count() * length + 12 * layers * config.width * seen)


def num_bytes(variables) -> int:
    """The size of weights in bytes."""
    items = {"float32": 4, "bfloat16": 2}
    return sum(items.get(variable.dtype, 4) * int(np.prod(variable.shape)) for variable in variables)
