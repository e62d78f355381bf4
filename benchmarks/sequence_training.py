"""Train a model from end to end as one compiled program, on JAX.

A run's seed gives the first weights, the order of the rows and, in a search, which rows are for validation. The
learning rate falls to zero along a cosine; Adam, with gradients clipped to a norm of 1, as usual for recurrences.

Runs of one model that differ by rate and seed use one program, one after another. All at once, by `jax.vmap`, they took
1.3 times as long on a CPU, of an LSTM, and 1.8 times, of an encoder; of an encoder with `retain_memory` as long.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from sequence_data import Data, Part

BATCH_SIZE = 16
#: Rows at once where errors are computed.
EVALUATED = 64
#: How often in a run the error is computed.
PIECES = 10


class Result(NamedTuple):
    """Of one run, at its end."""

    #: Of the rows that were trained on, and of the others: validation in a search, else testing.
    train_loss: float
    loss: float
    #: Of the others, in the unit of the data: percent, or a mean absolute error.
    error: float
    #: The same after each tenth of the steps.
    errors: list[float]


class Trainer:
    """Trains a model on a data set again and again.

    Args:
        make: returns a new model of features, with random weights.
        data: the data set.
        steps: how many batches; the rows are read again and again.
    """

    def __init__(self, make: Callable[[], keras.Model], data: Data, steps: int):
        self.make, self.data, self.steps = make, data, steps
        self.model = make()
        self.optimizer = keras.optimizers.Adam(1.0, clipnorm=1.0)
        self.optimizer.build(self.model.trainable_variables)
        self.count = len(self.model.trainable_variables)
        self._train, self._judge = jax.jit(self._trained, donate_argnums=(0, 1)), jax.jit(self._sums)
        # Not constants of the program.
        self.parts = [Part(*map(jnp.asarray, part)) for part in (data.train, data.test)]

    def run(self, rate: float, seed: int, search: bool) -> Result:
        """Train once; judge by validation rows taken from those for training, or by those for testing."""
        train, test = self.parts
        rows, others = np.arange(len(self.data.train.features)), np.arange(len(self.data.test.features))
        if search:
            (rows, others), test = self.data.split(seed), train
        keras.utils.set_random_seed(seed)
        model = self.make()
        values = [jnp.copy(variable.value) for variable in (*model.trainable_variables, *model.non_trainable_variables)]
        optimizer = [jnp.copy(variable.value) for variable in self.optimizer.variables]
        errors = []
        for piece in np.array_split(np.arange(self.steps), PIECES):
            order = jnp.asarray(_order(rows, self.steps, seed)[piece])
            values, optimizer = self._train(values, optimizer, train, order, piece[0], rate)
            loss, error = self._judged(values, test, others)
            errors.append(self.data.scale * error)
        return Result(self._judged(values, train, rows[:1024])[0], loss, errors[-1], errors)

    def _trained(self, values, optimizer, train, batches, past, rate):
        def step(carry, inputs):
            values, optimizer = carry
            number, rows = inputs
            share = 0.5 * (1 + jnp.cos(math.pi * number / self.steps)) * rate
            part = jax.tree.map(lambda leaf: leaf[rows], train)
            trainable, others = values[: self.count], values[self.count :]

            def loss_of(trainable):
                outputs, after = self.model.stateless_call(trainable, others, part.features, training=True)
                loss, _, weight = self._losses(outputs, part)
                return loss / jnp.maximum(weight, 1e-9), after

            gradients, others = jax.grad(loss_of, has_aux=True)(trainable)
            is_rate = [variable is self.optimizer.learning_rate for variable in self.optimizer.variables]
            optimizer = [share if own else value for own, value in zip(is_rate, optimizer, strict=True)]
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            return ([*trainable, *others], optimizer), None

        return jax.lax.scan(step, (values, optimizer), (past + jnp.arange(len(batches)), batches))[0]

    def _losses(self, outputs, part):
        """The sums of the weighted losses and errors, and of the weights."""
        targets, weights = part.targets, part.weights
        if self.data.num_classes is None:
            difference = outputs - targets
            loss, error = jnp.mean(difference**2, axis=-1), jnp.mean(jnp.abs(difference), axis=-1)
        else:
            logs = jax.nn.log_softmax(outputs)
            loss = -jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
            error = jnp.argmax(outputs, axis=-1) != targets
        return jnp.sum(loss * weights), jnp.sum(error * weights), jnp.sum(weights)

    def _sums(self, values, part, rows, counts):
        part = jax.tree.map(lambda leaf: leaf[rows], part)
        part = part._replace(weights=part.weights * counts.reshape(-1, *[1] * (part.weights.ndim - 1)))
        outputs, _ = self.model.stateless_call(
            values[: self.count], values[self.count :], part.features, training=False
        )
        return jnp.stack(self._losses(outputs, part))

    def _judged(self, values, part, rows):
        """The mean loss and error of some rows."""
        sums = np.zeros(3)
        for start in range(0, len(rows), EVALUATED):
            some = rows[start : start + EVALUATED]
            # Rows that fill the batch do not count.
            counts = np.arange(EVALUATED) < len(some)
            sums += np.asarray(self._judge(values, part, np.resize(some, EVALUATED), counts))
        return tuple(sums[:2] / sums[2])


def _order(rows, steps, seed):
    """The rows of each batch, `(steps, batch)`: one permutation after another."""
    generator, size = np.random.default_rng(seed), min(BATCH_SIZE, len(rows))
    turns = math.ceil(steps * size / len(rows))
    return np.concatenate([generator.permutation(rows) for _ in range(turns)])[: steps * size].reshape(steps, size)
