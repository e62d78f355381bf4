"""nanoGPT's small recipe on a text of Shakespeare: validation loss of Griffin, Hawk and the baseline.

    KERAS_BACKEND=jax python benchmarks/shakespeare.py FILE

The recipe: 2000 steps of 12 windows of 64 characters, at most 0.8 M parameters, no dropout; the first nine tenths of
the text are for training, the rest for validation. nanoGPT's README gives a validation loss of 1.88 nats per character.
"""

import math
import sys
import time
from pathlib import Path

import keras
import numpy as np
from timing import BACKEND

from keras_griffin.models import Griffin, GriffinConfig, Hawk, MQATransformer
from keras_griffin.training import AdamW, BitsPerByte, HeldOutWindows, RandomWindows, warm_up_then_cosine

STEPS, BATCH_SIZE, LENGTH, MOST_PARAMETERS = 2000, 12, 64, 800_000
SIZES = {Griffin: (128, 4, 112), Hawk: (128, 4, 112), MQATransformer: (128, 4, None)}


def main():
    """Train the three families and print a table."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        raise SystemExit(f"shakespeare: the only argument must be a file. Got {sys.argv[1:]}.")
    text = Path(sys.argv[1]).read_bytes()
    characters = bytes(sorted(set(text)))
    ids = np.frombuffer(text.translate(bytes.maketrans(characters, bytes(range(len(characters))))), "uint8")
    train, validation = np.split(ids, [len(ids) * 9 // 10])
    print(
        f"\n### Shakespeare on {BACKEND}\n\n| model | parameters | validation loss, nats | seconds |\n|---|---|---|---|"
    )
    for family, (width, num_layers, recurrence_width) in SIZES.items():
        keras.utils.set_random_seed(0)
        config = GriffinConfig(
            len(characters),
            width,
            num_layers,
            num_heads=2,
            recurrence_width=recurrence_width,
            window=64,
            # As in the results.
            decay_initializer="paper",
        )
        model = family(config)
        if model.count_params() > MOST_PARAMETERS:
            raise SystemExit(f"shakespeare: at most {MOST_PARAMETERS} parameters. Got {model.count_params()}.")
        model.compile(AdamW(warm_up_then_cosine(4e-3, STEPS)), model.loss, weighted_metrics=[BitsPerByte(name="bits")])
        start = time.perf_counter()
        model.fit(RandomWindows(train, LENGTH, BATCH_SIZE, num_batches=STEPS, seed=0), verbose=0)
        seconds = time.perf_counter() - start
        bits = model.evaluate(HeldOutWindows(validation, LENGTH, 128), verbose=0, return_dict=True)["bits"]
        print(
            f"| {family.__name__} | {model.count_params():,} | {bits * math.log(2):.3f} | {seconds:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
