"""Some further steps after a training, with the state that each row leaves as the first state of the next.

Reference: Buitrago Ruiz and Gu 2025 (arXiv 2507.02782): a few hundred such steps make recurrent models hold far beyond
the length of training.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from experiments.harness.run import Run
from experiments.harness.training import MakeOptimizer, jit_compile
from keras_griffin.models import LanguageModel
from keras_griffin.tasks import TaskBatch

#: The rate of further steps, in units of the run's.
RATE = 0.1
#: How a model goes on after its tests: words of a setting, and whether the states of rows are carried.
WAYS = {"further steps": False, "further steps, states carried": True}


def train_further(
    run: Run,
    model: LanguageModel,
    steps: int,
    make_batch: Callable[[int], TaskBatch],
    is_carried: bool,
    optimizer: MakeOptimizer,
) -> None:
    """Go on for some steps, with a new optimizer at a tenth of the rate.

    Args:
        run: that has trained the model.
        model: to go on with.
        steps: of the way.
        make_batch: the rows of a step; both ways have the same.
        is_carried: whether a row begins with the state that the row in its place has left in the step before.
        optimizer: of the experiment.
    """
    short = dataclasses.replace(run, steps=steps, learning_rate=RATE * run.learning_rate)
    carried = model.carried(run.batch_size)
    carried.compile(optimizer(short, model), model.loss, jit_compile=jit_compile(run))
    carried.fit(FurtherRows(steps, make_batch, is_carried), epochs=1, verbose=0)


class FurtherRows(keras.utils.PyDataset):
    """Rows that continue those of the step before, or else each begin a text of their own.

    Args:
        steps: batches.
        make_batch: as for `train_further`.
        is_carried: likewise.
    """

    def __init__(self, steps: int, make_batch: Callable[[int], TaskBatch], is_carried: bool):
        super().__init__()
        self._steps, self._make_batch, self._is_carried = steps, make_batch, is_carried

    @property
    def num_batches(self):
        """The steps."""
        return self._steps

    def __getitem__(self, index):
        token_ids, targets, weights = self._make_batch(index)
        chunk = np.full(len(token_ids), index if self._is_carried else 0, "int32")
        return {"token_ids": token_ids, "segment_ids": np.ones_like(token_ids), "chunk": chunk}, targets, weights
