"""Check that documents that share a row do not affect one another, in a model's outputs or in its gradients.

    from keras_griffin.testing import check_no_leak

    check_no_leak(model.packed(), batch)

Use it with your own model and the batches of your own pipeline.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.testing.arrays import as_array


def check_no_leak(
    model: keras.Model,
    batch: Any,
    *,
    documents: Iterable | None = None,
    gradients: bool = True,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> None:
    """Fail unless every document of a batch is isolated from the others.

    Documents are given by `segment_ids`. If the batch has targets, the only target with weight at a step is the next
    token of its own document; at a row's end, where a long document may be cut, any target is accepted. If `documents`
    are given, each document of the batch must be one of them or a piece of one, and the target at its end must be the
    token that follows there.

    Then the tokens of one document at a time are replaced, and so are all positions of padding together:

    - the outputs at all other documents' positions must not change, while its own must;
    - the gradient, for every trainable variable, of the loss over all other documents must not change.

    The cost is at most two predictions and four training steps for each document, on the whole batch: a small one with
    several documents per row is best. The model's weights are unchanged, and so is a state that it carries from batch
    to batch: every pass over the batch starts from the same one.

    Args:
        model: with inputs `{"token_ids": (B, T), "segment_ids": (B, T)}` and any others: `model.packed()`,
            `model.carried(B)`, or any other; for gradients it must be compiled with a loss.
        batch: `(x, targets, weights)` as from a data source; without gradients, `x` is enough. Segment id 0 is padding,
            consecutive equal positive ids are a document. Without weights every step has a loss, except for targets
            that the model's loss ignores.
        documents: the integer arrays `(T,)` from which the batch was made, in any order. Without them, two documents
            with the same segment id count as one.
        gradients: False skips the gradients, as required on a backend without them.
        tolerance: the largest change, relative to the largest magnitude of the same outputs, or of the same variable's
            gradient, that counts as rounding.
        seed: of the replacement tokens, which are drawn from those in the batch.

    Raises:
        AssertionError: a document leaks, has a loss on another one's token, is not in `documents`, or is not read at
            all; the message names the row and the document.
        ValueError: with this batch or model, no leak could be found.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_griffin.testing import check_no_leak
        >>> names = ("token_ids", "segment_ids")
        >>> inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
        >>> leaks = keras.Model(inputs, keras.ops.cumsum(inputs["token_ids"], axis=1))
        >>> x = {"token_ids": np.array([[5, 6, 7, 8]]), "segment_ids": np.array([[1, 1, 2, 2]])}
        >>> check_no_leak(leaks, x, gradients=False)
        Traceback (most recent call last):
        AssertionError: ...in document 0 of row 0 must not change the outputs of document 1 of row 0. ...
    """
    x, targets, weights = _unpacked(batch)
    numbers = number_documents(x["segment_ids"])
    ends = {} if documents is None else _tokens_after(x["token_ids"], numbers, list(documents))
    _check_that_something_can_be_found(x, numbers, model, targets, weights, gradients)
    if targets is not None:
        ignored = getattr(getattr(model, "loss", None), "ignore_class", None)
        _check_targets(x["token_ids"], numbers, targets, (weights > 0) & (targets != ignored), ends)
    probe = _Probe(model)
    outputs = probe.outputs(x)
    if outputs.shape[:2] != numbers.shape:
        raise ValueError(
            f"check_no_leak: the outputs must be (B, T, ...) for segment ids {numbers.shape}. Got {outputs.shape}."
        )
    is_finite = np.isfinite(outputs).reshape(*numbers.shape, -1).all(axis=-1)
    if not is_finite[numbers >= 0].all():
        row, position = np.argwhere(~is_finite & (numbers >= 0))[0]
        raise AssertionError(
            f"check_no_leak: outputs must be finite. Got NaN or infinity in {_name(row, numbers[row, position])}."
        )
    for name, is_changed in _changes(numbers):
        other = {**x, "token_ids": _other_tokens(x["token_ids"], is_changed, seed)}
        _check_outputs(name, is_changed, numbers, outputs, probe.outputs(other), tolerance)
        if gradients:
            before, after = (probe.gradients(inputs, targets, weights * ~is_changed) for inputs in (x, other))
            _check_gradients(name, before, after, tolerance)


def number_documents(segment_ids: np.ndarray) -> np.ndarray:
    """The number of the document of each position `(B, T)`, from 0 in each row; -1 at padding."""
    # A document is a run of equal positive ids, ignoring padding in between, as for `model.packed()`.
    numbers = np.full(segment_ids.shape, -1)
    for row, ids in enumerate(segment_ids):
        real = np.flatnonzero(ids > 0)
        numbers[row, real] = np.cumsum(np.diff(ids[real], prepend=ids[real][:1]) != 0)
    return numbers


def _unpacked(batch):
    """`(x, targets, weights)` as arrays; without targets None and None, without weights ones."""
    x, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
    if not isinstance(x, dict) or not {"token_ids", "segment_ids"} <= set(x):
        received = f"inputs {', '.join(x)}" if isinstance(x, dict) else f"a {type(x).__name__}"
        raise ValueError(f"check_no_leak: the inputs must be a dict with token_ids and segment_ids. Got {received}.")
    x = {name: as_array(values) for name, values in x.items()}
    x.update({name: x[name].astype("int32") for name in ("token_ids", "segment_ids")})
    if targets is None:
        return x, None, None
    shape, targets = x["segment_ids"].shape, as_array(targets)
    weights = np.ones(shape, "float32") if weights is None else as_array(weights)
    if not shape == targets.shape == weights.shape:
        raise ValueError(
            f"check_no_leak: targets and weights must be {shape}, like the segment ids. "
            f"Got {targets.shape} and {weights.shape}."
        )
    return x, targets, weights


def _check_that_something_can_be_found(x, numbers, model, targets, weights, gradients):
    if numbers.max(initial=0) < 1:
        raise ValueError(
            "check_no_leak: at least one row must have two documents. "
            f"Got segment ids {numbers.shape} with at most one per row."
        )
    if len(np.unique(x["token_ids"])) < 2:
        raise ValueError("check_no_leak: the batch must have two different tokens, to draw others from. Got one.")
    if not gradients:
        return
    if not backends.has_gradients():
        raise ValueError(
            f"check_no_leak: gradients must be False on a backend without gradients. Got {keras.backend.backend()}."
        )
    if targets is None or not model.compiled:
        raise ValueError(
            "check_no_leak: gradients need a batch (x, targets, weights) and a model compiled with a loss. "
            f"Got targets: {targets is not None}, compiled: {model.compiled}."
        )
    losses = [numbers[row][(weights[row] > 0) & (numbers[row] >= 0)] for row in range(len(numbers))]
    if all(len(np.unique(known)) < 2 for known in losses):
        raise ValueError(
            "check_no_leak: at least two documents of a row must have a loss. Got at most one with weights above 0."
        )


def _tokens_after(token_ids, numbers, documents) -> dict[tuple[int, int], set[int]]:
    """By row and number, the tokens that follow a document of the batch in the documents of the user."""
    after = {}
    for row, number in _documents(numbers):
        piece = token_ids[row, numbers[row] == number]
        places = [place for document in documents for place in _places(piece, np.asarray(document))]
        if not places:
            raise AssertionError(
                "check_no_leak: tokens with one segment id must be one of the documents, or a piece of one. "
                f"Got {_name(row, number)}, of {len(piece)} tokens, which is in none of {len(documents)}."
            )
        after[row, number] = {int(token) for rest in places for token in rest[:1]}
    return after


def _documents(numbers) -> Iterator[tuple[int, int]]:
    """Row and number of each document."""
    for row, known in enumerate(numbers):
        yield from ((row, number) for number in range(known.max(initial=-1) + 1))


def _places(piece, document) -> Iterator[np.ndarray]:
    """The rest of a document after each occurrence of a piece."""
    candidates = document[: max(len(document) - len(piece) + 1, 0)]
    for start in np.flatnonzero(candidates == piece[0]):
        stop = start + len(piece)
        if np.array_equal(document[start:stop], piece):
            yield document[stop:]


def _check_targets(token_ids, numbers, targets, has_loss, ends):
    for row, position in np.argwhere(has_loss):
        number, target = numbers[row, position], targets[row, position]
        allowed: Collection
        later = position + 1 + np.flatnonzero(numbers[row, position + 1 :] == number)
        if number < 0:
            allowed, where = (), "which is padding"
        elif len(later):
            allowed = (token_ids[row, later[0]],)
            where = f"where document {number} continues with {allowed[0]}"
        elif ends:
            allowed = ends[row, number]
            where = f"after which document {number} continues with {', '.join(map(str, sorted(allowed))) or 'nothing'}"
        else:
            # A row's end may cut a document, so that its next token is unknown.
            allowed = (target,) if position + 1 == numbers.shape[1] else ()
            where = f"where document {number} ends"
        if target not in allowed:
            raise AssertionError(
                "check_no_leak: weights must be 0 where the target is not the next token of the same document. "
                f"Got target {target} with a weight at position {position} of row {row}, {where}."
            )


def _changes(numbers) -> Iterator[tuple[str, np.ndarray]]:
    """Each document, and all padding, as a name and the positions `(B, T)`."""
    for row, number in _documents(numbers):
        is_changed = np.zeros(numbers.shape, bool)
        is_changed[row] = numbers[row] == number
        yield _name(row, number), is_changed
    if (numbers < 0).any():
        yield "the padding", numbers < 0


def _name(row, number) -> str:
    return f"document {number} of row {row}"


def _other_tokens(token_ids, is_changed, seed):
    """The tokens, with a different token of the batch at each changed position."""
    known, places = np.unique(token_ids, return_inverse=True)
    steps = np.random.default_rng(seed).integers(1, len(known), token_ids.shape)
    return np.where(is_changed, known[(places.reshape(token_ids.shape) + steps) % len(known)], token_ids)


def _check_outputs(name, is_changed, numbers, before, after, tolerance):
    is_real = numbers >= 0
    scale = np.abs(before[is_real]).max() or 1.0
    change = np.abs(after - before).reshape(*numbers.shape, -1).max(axis=-1) / scale
    # A change to NaN counts too.
    is_other = ~(change <= tolerance)
    if (is_changed & is_real).any() and not is_other[is_changed].any():
        raise AssertionError(
            f"check_no_leak: other tokens in {name} must change its own outputs. "
            "Got the same outputs, so no leak could be found."
        )
    leaks = np.argwhere(is_other & ~is_changed & is_real)
    if len(leaks):
        row, position = leaks[0]
        reader = _name(row, numbers[row, position])
        raise AssertionError(
            f"check_no_leak: other tokens in {name} must not change the outputs of {reader}. "
            f"Got a relative change of {change[row, position]:.1e} at position {position}; {tolerance:.1e} is allowed."
        )


def _check_gradients(name, before, after, tolerance):
    for path, gradient in before.items():
        scale = np.abs(gradient).max(initial=0.0)
        change = np.abs(after[path] - gradient).max(initial=0.0)
        if not change <= tolerance * scale:
            raise AssertionError(
                f"check_no_leak: other tokens in {name} must not change the gradient of the other documents' loss. "
                f"Got a change of {change:.1e} in the gradient of {path}, of magnitude {scale:.1e}."
            )


@keras.saving.register_keras_serializable("keras_griffin")
class _Recorder(keras.optimizers.Optimizer):
    """An optimizer that records the gradients and changes no variables, to get gradients on any backend."""

    def __init__(self):
        super().__init__(learning_rate=0.0, name="recorder")

    def build(self, variables):
        super().build(variables)
        self.recorded = [self.add_variable_from_reference(variable, "recorded") for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Record the gradient."""
        recorded = self.recorded[self._get_variable_index(variable)]
        # TensorFlow's gradient of an embedding is a list of rows, which may repeat.
        self.assign(recorded, ops.zeros(recorded.shape, recorded.dtype))
        self.assign_add(recorded, gradient)


class _Probe(keras.Model):
    """A model, to predict and differentiate without changing it."""

    def __init__(self, model):
        super().__init__(name="probe")
        self.model = model
        # Copies, because PyTorch's arrays share memory with the variables.
        self._state = [as_array(variable).copy() for variable in model.non_trainable_variables]
        self.compile(optimizer=_Recorder())

    def call(self, x, training=False):
        """The model's outputs."""
        return self.model(x, training=training)

    def compute_loss(self, *args, **kwargs):
        """The model's loss, including a custom one, as of a model without logits."""
        return self.model.compute_loss(*args, **kwargs)

    def outputs(self, x) -> np.ndarray:
        """The outputs `(B, T, ...)`."""
        with self._state_restored():
            return as_array(self.predict_on_batch(x)).astype("float64")

    def gradients(self, x, targets, weights) -> dict[str, np.ndarray]:
        """The gradient of the loss for each trainable variable, by its path."""
        with self._state_restored():
            self.train_on_batch(x, targets, sample_weight=weights)
        recorded = zip(self.model.trainable_variables, self.optimizer.recorded, strict=True)
        return {variable.path: as_array(gradient).astype("float64") for variable, gradient in recorded}

    @contextlib.contextmanager
    def _state_restored(self):
        """Restore carried states, statistics and the seeds of dropout after the block."""
        try:
            yield
        finally:
            for variable, value in zip(self.model.non_trainable_variables, self._state, strict=True):
                variable.assign(value)
