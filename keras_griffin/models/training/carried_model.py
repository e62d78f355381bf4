"""Truncated backpropagation through time: a language model whose state is carried from batch to batch."""

from typing import Any

import keras
from keras import ops

from keras_griffin.checks import COUNT, checked
from keras_griffin.generation.capacity import grows
from keras_griffin.layers.base.layout import layout_of_rows
from keras_griffin.models.training.chunked_loss import ChunkedLoss
from keras_griffin.models.training.shared_model import SharedModel
from keras_griffin.shapes import State, Tensor

#: `fit` checks the order of the batches each time this many have passed.
CHECK_EVERY = 100


class CarriedState(keras.layers.Layer):
    """A state of B rows in variables, which are saved with the model that owns them."""

    def __init__(self, state: State, **kwargs):
        super().__init__(**kwargs)
        leaves = enumerate(keras.tree.flatten(state))
        self._leaves = [self._zeros(f"leaf_{index}", leaf.shape, leaf.dtype) for index, leaf in leaves]
        # The chunk that each row expects, and how many rows so far were neither it nor chunk 0.
        self.chunk = self._zeros("chunk", state.segment.shape, "int32")
        self.out_of_order = self._zeros("out_of_order", (), "int32")
        self.built = True

    def _zeros(self, name, shape, dtype):
        dtype = keras.backend.standardize_dtype(dtype)
        # Not cast: a recurrent state is float32 whatever the compute dtype. Each device has the state of its rows.
        options = {"trainable": False, "autocast": False, "layout": layout_of_rows(len(shape))}
        with keras.name_scope(self.name):
            return keras.Variable("zeros", tuple(shape), dtype, name=name, **options)

    def read(self, chunk: Tensor, initial_state: State) -> State:
        """The state from which each row continues with its `chunk (B,)`: the carried one, or else the initial one."""
        follows = chunk == self.chunk.value
        continues = ops.logical_and(chunk > 0, follows)
        is_wrong = ops.logical_and(chunk > 0, ops.logical_not(follows))
        self.out_of_order.assign(self.out_of_order.value + ops.sum(ops.cast(is_wrong, "int32")))

        def pick(carried, initial):
            rows = ops.reshape(continues, (-1, *[1] * (len(initial.shape) - 1)))
            # A copy: PyTorch would find that a tensor needed for the gradient has been overwritten.
            return ops.where(rows, ops.copy(carried.value), initial)

        leaves = [pick(*pair) for pair in zip(self._leaves, keras.tree.flatten(initial_state), strict=True)]
        return keras.tree.pack_sequence_as(initial_state, leaves)

    def write(self, chunk: Tensor, state: State) -> None:
        """Store the state after each row's `chunk (B,)`; no gradient flows back from later batches."""
        for variable, leaf in zip(self._leaves, keras.tree.flatten(state), strict=True):
            variable.assign(ops.stop_gradient(leaf))
        self.chunk.assign(chunk + 1)

    def check_order(self, function_name: str) -> None:
        """Refuse rows that were out of order."""
        count = int(ops.convert_to_numpy(self.out_of_order.value))
        if count:
            raise ValueError(
                f"{function_name}: each row must be chunk 0 of its text, or the chunk after that of the previous "
                f"batch. Got {count} rows that were not."
            )


@keras.saving.register_keras_serializable("keras_griffin")
class CarriedModel(SharedModel):
    """A language model over chunks of texts: each row of a batch continues where that row of the previous batch ended.

        logits_k, state_k = model.advance(tokens_k, stop_gradient(state_(k-1)))

    Forward, chunks give the same as one pass over the whole text; backward, the gradient stops at the start of the
    chunk. Row b of a batch is chunk `chunk[b]` of its text; chunk 0 starts from the initial state. Within a text, a new
    segment id starts a document. Validation carries a separate state. Both are saved with the weights.

    Args:
        language_model: a `LanguageModel` without global attention, whose state would grow.
        batch_size: B, of all processes together. On JAX each device, and on PyTorch each process, has the state of its
            rows; on PyTorch such a model can't be saved, except by `keras_griffin.training.ResumableRun`.
        **kwargs: `name`.

    Input shape: `{"token_ids": (B, T), "segment_ids": (B, T), "chunk": (B,)}`, int32; T may change.

    Output shape: `(B, T, V)` logits, float32.

    Raises:
        ValueError: the batch size is not a positive integer, or not divided by the number of processes; the model has
            global attention; a strategy of TensorFlow would divide the rows; or, in a call, a batch does not have its
            rows.

    Reference: Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2(4), pages 490 to 501.
    """

    batch_names = ("token_ids", "segment_ids", "chunk")

    def __init__(self, language_model: keras.Model, batch_size: int, **kwargs: Any):
        super().__init__(language_model, **kwargs)
        batch_size = checked(type(self).__name__, COUNT, batch_size=batch_size)
        processes = language_model.processes
        count = 1 if processes is None else processes.batch.count
        if batch_size % count:
            raise ValueError(
                f"{type(self).__name__}: the number of processes must divide batch_size. Got {count} and {batch_size}."
            )
        self.rows = batch_size // count
        state = language_model.initial_state(self.rows)
        if grows(state):
            raise ValueError(
                f"{type(self).__name__}: no mixer's state may grow. Got the block pattern "
                f"{', '.join(language_model.config.block_pattern)}."
            )
        # Only on TensorFlow does a model have a strategy, which divides its batch before `call` sees it.
        replicas = getattr(getattr(self, "distribute_strategy", None), "num_replicas_in_sync", 1)
        if replicas > 1:
            raise ValueError(
                f"{type(self).__name__}: the rows whose state is carried must not be divided by a strategy of "
                f"TensorFlow. Got one of {replicas} replicas."
            )
        self.batch_size = batch_size
        self.carried = CarriedState(state, name="carried")
        self.carried_in_validation = CarriedState(state, name="carried_in_validation")

    def shared_rows(self) -> list[keras.Variable]:
        """The variables of which each of several PyTorch processes holds the rows of its part of a batch."""
        states = (self.carried, self.carried_in_validation) if self.rows < self.batch_size else ()
        return [variable for state in states for variable in state.variables if variable is not state.out_of_order]

    def save_own_variables(self, store):
        """Called by Keras; a file would have the state of one process's rows."""
        if self.rows < self.batch_size:
            raise ValueError(
                "save: the state of every row must be in this process: ResumableRun saves that of all rows, and the "
                f"language model has all weights. Got that of {self.rows} rows of {self.batch_size}."
            )
        super().save_own_variables(store)

    def call(self, inputs, training=False):
        """Continue from the carried state; see the class."""
        token_ids, segment_ids, chunk = (self._rows(name, inputs[name]) for name in self.batch_names)
        model, carried = self.language_model, self.carried if training else self.carried_in_validation
        state = carried.read(chunk, model.initial_state(self.rows))
        x, state = model.advance_without_logits(
            token_ids, state, segment_ids=segment_ids, rematerialize=training and model.rematerialize
        )
        carried.write(chunk, state)
        return self.outputs_of(model.final_norm(x))

    def _rows(self, name, tensor):
        """An input as int32 with B rows, a number that TensorFlow may not know."""
        tensor = ops.cast(tensor, "int32")
        if tensor.shape[0] not in (None, self.rows):
            raise ValueError(
                f"{type(self).__name__}: every batch must have the {self.rows} rows whose state is carried. "
                f"Got {tensor.shape[0]} in {name}."
            )
        return ops.reshape(tensor, (self.rows, *ops.shape(tensor)[1:]))

    def outputs_of(self, vectors: Tensor) -> Tensor:
        """Logits of the vectors `(B, T, D)`."""
        return self.language_model.token_embedding(vectors, reverse=True)

    def fit(self, x=None, y=None, *args, shuffle=False, callbacks=None, **kwargs):
        """Train on batches in order; see `keras.Model.fit`. The order is checked every 100 batches.

        Raises:
            ValueError: `x` is not a `keras.utils.PyDataset`, `shuffle` is true, a row's chunks came out of order, or
                `x` has tokens of another vocabulary.
        """
        if shuffle or not isinstance(x, keras.utils.PyDataset):
            raise ValueError(
                "fit: a carried state needs its batches in order, from a keras.utils.PyDataset and without shuffle. "
                f"Got {type(x).__name__} and shuffle={shuffle}."
            )
        self.carried.out_of_order.assign(0)
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        return super().fit(x, y, *args, shuffle=False, callbacks=[_OrderCheck(), *callbacks], **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Evaluate on batches in order, as the validation of `fit` does too; other orders are an error, as in `fit`."""
        self.carried_in_validation.out_of_order.assign(0)
        result = super().evaluate(x, y, *args, **kwargs)
        self.carried_in_validation.check_order("evaluate")
        return result

    def predict(self, x, *args, **kwargs):
        """The outputs of `call` for batches in order; other orders are an error, as in `fit`."""
        self.carried_in_validation.out_of_order.assign(0)
        result = super().predict(x, *args, **kwargs)
        self.carried_in_validation.check_order("predict")
        return result

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "batch_size": self.batch_size}


@keras.saving.register_keras_serializable("keras_griffin")
class CarriedWithoutLogits(CarriedModel, ChunkedLoss):
    """The same without logits: `(B, T, D)` vectors, and the loss of `ChunkedLoss`."""

    def outputs_of(self, vectors: Tensor) -> Tensor:
        """The vectors, unchanged."""
        return vectors


class _OrderCheck(keras.callbacks.Callback):
    """Raise if the chunks of a row were not consecutive: checked every `CHECK_EVERY` batches and after each epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        # Each check waits for the steps before it.
        if batch % CHECK_EVERY == 0:
            self.model.carried.check_order("fit")

    def on_epoch_end(self, epoch, logs=None):
        self.model.carried.check_order("fit")
