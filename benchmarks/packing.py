"""Training on documents of many lengths: packed rows compared with one padded row per document.

    KERAS_BACKEND=jax python benchmarks/packing.py

The documents are the functions, methods and class heads of Python's standard library, whose text is cut before each
`def`, `class` and decorator; in both cases documents longer than a row are cut into pieces. The model is a Griffin of
width 192, six layers, three heads and a window of 128, over bytes, in float32; in both cases a batch has 4 rows of 1024
positions. Padding comes last in a row, where it needs no mask, and has no weight. The measure is the tokens of
documents per second over the steps of one `fit`, without the first ones. The time to plan the rows of many documents,
with lengths drawn from these, is measured too.
"""

import re
import time

import keras
import numpy as np
from timing import BACKEND

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tasks.text import load_corpus
from keras_griffin.training import PackedDocuments, Stopwatch

LENGTH, BATCH_SIZE = 1024, 4
#: Timed steps, and steps of a first `fit`, which compiles.
STEPS, FIRST_STEPS = 24, 3
CONFIG = GriffinConfig(vocabulary_size=256, width=192, num_layers=6, num_heads=3, window=128)
#: The number of documents for the planning time.
PLANNED = 300_000
#: Where a definition begins.
DEFINITION = re.compile(rb"^(?= *(?:@|def |class |async def ))", re.MULTILINE)


class PaddedDocuments(keras.utils.PyDataset):
    """Rows with one piece of a document each, and padding: the baseline for packing.

    Args:
        documents: arrays of bytes.
    """

    def __init__(self, documents):
        super().__init__()
        pieces = [(document, start) for document in documents for start in range(0, len(document), LENGTH)]
        self._pieces = [pieces[number] for number in np.random.default_rng(0).permutation(len(pieces))]
        self.rows = len(pieces)
        self.fill = sum(map(len, documents)) / (self.rows * LENGTH)

    @property
    def num_batches(self):
        """The number of batches for all rows."""
        return -(-self.rows // BATCH_SIZE)

    def __getitem__(self, index):
        token_ids, targets = (np.zeros((BATCH_SIZE, LENGTH), "int32") for _ in range(2))
        weights = np.zeros((BATCH_SIZE, LENGTH), "float32")
        for row, (document, start) in enumerate(self._pieces[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]):
            tokens, after = document[start : start + LENGTH], document[start + 1 : start + LENGTH + 1]
            token_ids[row, : len(tokens)] = tokens
            targets[row, : len(after)] = after
            weights[row, : len(after)] = 1.0
        return token_ids, targets, weights


class FirstSteps(keras.utils.PyDataset):
    """The first batches of a dataset.

    Args:
        data: the dataset.
        num_batches: how many.
    """

    def __init__(self, data, num_batches):
        super().__init__()
        self.data = data
        self._num_batches = num_batches

    @property
    def num_batches(self):
        """The number of batches."""
        return self._num_batches

    def __getitem__(self, index):
        return self.data[index]


def documents():
    """The definitions, as arrays of bytes."""
    text = load_corpus().train.tobytes()
    return [np.frombuffer(part, "uint8") for part in DEFINITION.split(text) if part]


def seconds_to_plan(lengths):
    """CPU seconds to plan the rows of `PLANNED` documents, with lengths drawn from these."""
    drawn = np.random.default_rng(0).choice(lengths[lengths <= LENGTH], PLANNED)
    # One text for all: planning uses only lengths.
    text = np.zeros(LENGTH, "uint8")
    planned = [text[:length] for length in drawn]
    start = time.process_time()
    PackedDocuments(planned, LENGTH, BATCH_SIZE)
    return time.process_time() - start


def seconds_per_step(model, data):
    """The mean over the timed steps."""
    stopwatch = Stopwatch()
    model.fit(FirstSteps(data, FIRST_STEPS), shuffle=False, verbose=0)
    model.fit(FirstSteps(data, STEPS), shuffle=False, verbose=0, callbacks=[stopwatch])
    return stopwatch.seconds_per_step


def main():
    """Print the table of the active backend."""
    given = documents()
    lengths = np.array(list(map(len, given)))
    print(f"\n### Packing on {BACKEND}\n")
    sizes = f"of {lengths.min()} to {lengths.max():,} bytes, half of them below {np.median(lengths):.0f}"
    print(f"{len(given):,} documents {sizes}")
    seconds = seconds_to_plan(lengths)
    print(f"\nThe rows of {PLANNED:,} documents no longer than a row are planned in {seconds:.2f} s of one core")
    print("\n| rows | full | rows for all | seconds a step | tokens of documents a second |\n|---|---|---|---|---|")
    packed = PackedDocuments(given, LENGTH, BATCH_SIZE, vocabulary_size=CONFIG.vocabulary_size)
    padded = PaddedDocuments(given)
    speeds = []
    for name, data, rows, fill, model in (
        ("padded", padded, padded.rows, padded.fill, Griffin(CONFIG)),
        ("packed", packed, packed.counts.rows, packed.counts.fill, Griffin(CONFIG).packed()),
    ):
        seconds = seconds_per_step(model, data)
        # The timed batches are a sample, so the mean fill of all batches is used.
        speeds.append(fill * BATCH_SIZE * LENGTH / seconds)
        print(f"| {name} | {fill:.1%} | {rows:,} | {seconds:.4f} | {speeds[-1]:,.0f} |", flush=True)
    print(f"| packed / padded | | | | {speeds[1] / speeds[0]:.2f} |")


if __name__ == "__main__":
    main()
