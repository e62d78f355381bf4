"""Checks of the data of `fit`, `evaluate` and `predict`, before the first step, which on JAX may lose the weights."""

import contextlib
import copy
import inspect
import itertools
import reprlib
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.models.lora import check_no_lora
from keras_griffin.models.parameters import is_divided, processes_of, reset_on_error, with_whole_weights
from keras_griffin.models.token_ids import as_rows, check_inputs, check_no_text, check_token_ids
from keras_griffin.models.training.next_token_loss import for_each_target

#: The arguments of Keras's methods that hold batches.
_DATA = ("x", "y", "sample_weight")


class BatchRules(NamedTuple):
    """A model's rules for its batches."""

    #: As in `FirstBatch`.
    names: tuple[str, ...]
    vocabulary_size: int
    may_come_alone: bool = False
    #: Whether there is a loss, which needs targets.
    wants_targets: bool = False
    #: Whether targets are token ids.
    targets_are_ids: bool = False
    #: A target that the loss ignores; None if there is none.
    ignored: int | None = None


def rules_of_loss(loss) -> dict:
    """The fields of `BatchRules` that follow from a loss, as given to `compile`."""
    # Other losses may have other targets.
    is_ours = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    return {
        "wants_targets": loss is not None,
        "targets_are_ids": is_ours,
        "ignored": loss.ignore_class if is_ours else None,
    }


class FirstBatch:
    """A base, placed before `keras.Model`, for models that check their data before the first step.

    Arrays are checked entirely; of a generator, a `keras.utils.PyDataset` or a loader, the first batch.
    """

    #: The names of a batch's inputs; empty for token ids alone.
    batch_names: tuple[str, ...] = ()
    #: Whether token ids alone are accepted although there are names.
    may_come_alone = False
    output_shape: Any

    def batch_rules(self) -> BatchRules:
        """The model's rules for its batches."""
        rules = rules_of_loss(getattr(self, "loss", None))
        return BatchRules(self.batch_names, self.vocabulary_size_of_batches(), self.may_come_alone, **rules)

    def vocabulary_size_of_batches(self) -> int:
        """V, of the logits of a functional model."""
        return self.output_shape[-1]

    def __call__(self, inputs, *args, **kwargs):
        """The outputs of `call`, unless the inputs are known to be wrong."""
        backends.check_not_forked(type(self).__name__)
        inputs = check_inputs(type(self).__name__, inputs, *self.batch_rules()[:3])
        return with_whole_weights(self, super().__call__, inputs, *args, **kwargs)

    def fit(self, *args, **kwargs):
        """Train; see `keras.Model.fit`.

        Raises:
            ValueError: the first batch of the training or validation data breaks a rule, see `BatchRules`; there are
                class weights; no weight is trainable; or the optimizer was built for other variables.
        """
        backends.check_not_forked("fit")
        check_trainable("fit", self)
        backends.active().before_first_step(self)
        return self._checked_first(super().fit, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """Evaluate; see `keras.Model.evaluate`, and `fit` for errors."""
        return self._checked_first(super().evaluate, *args, **kwargs)

    def predict(self, *args, **kwargs):
        """The outputs of `call` for many batches; see `keras.Model.predict`, and `fit` for errors."""
        return self._checked_first(super().predict, *args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """One step; see `keras.Model.train_on_batch`."""
        backends.check_not_forked("train_on_batch")
        check_trainable("train_on_batch", self)
        _bound(super().train_on_batch, args, kwargs)
        backends.active().before_first_step(self)
        with reset_on_error(self):
            return super().train_on_batch(*args, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss; over several processes, that of all their rows. See `keras.Model.compute_loss`."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        processes = processes_of(self)
        if processes is None or y is None:
            return loss
        kind = getattr(self, "loss", None)
        is_weighted = isinstance(kind, keras.losses.Loss) and kind.reduction == "mean_with_sample_weight"
        has_weights = is_weighted and sample_weight is not None
        weights = for_each_target(sample_weight if has_weights else ops.ones(ops.shape(y)[:1]), y)
        return processes.batch.loss_of_all(loss, ops.sum(weights))

    def known_language_model(self) -> keras.Model | None:
        """The language model that is trained; None if unknown."""
        return None

    def save_own_variables(self, store):
        """Called by Keras, which would write merged kernels for a model with adapters."""
        check_no_lora("save", self.known_language_model())
        super().save_own_variables(store)

    def load_weights(self, *args, **kwargs):
        """Read weights from a file; see `keras.Model.load_weights`. A model with LoRA is an error."""
        check_no_lora("load_weights", self.known_language_model())
        super().load_weights(*args, **kwargs)

    def load_own_variables(self, store):
        """Called by Keras, which would set both factors of an adapter to zero, so that neither would get a gradient."""
        check_no_lora("load_own_variables", self.known_language_model())
        super().load_own_variables(store)

    def _checked_first(self, method, *args, **kwargs):
        # Keras passes this for the validation of `fit`, whose data have been checked.
        if "_use_cached_eval_dataset" in kwargs:
            return method(*args, **kwargs)
        name, rules = method.__name__, self.batch_rules()
        backends.check_not_forked(name)
        if name == "predict":
            rules = rules._replace(wants_targets=False, targets_are_ids=False)
        bound = _bound(method, args, kwargs)
        given = bound.arguments
        check_no_text(name, given.get("x"))
        check_tokens(self.known_language_model(), given.get("x"), given.get("validation_data"))
        if given.get("x") is not None:
            checked_data = _checked_data(name, rules, *map(given.get, _DATA))
            given.update((part, data) for part, data in zip(_DATA, checked_data, strict=True) if part in given)
        validation = given.get("validation_data")
        if validation is not None:
            checked_data = _checked_data(name, rules, *keras.utils.unpack_x_y_sample_weight(validation))
            given["validation_data"] = checked_data if isinstance(validation, (list, tuple)) else checked_data[0]
        with _weights_restored_on_error(self), reset_on_error(self):
            return method(*bound.args, **bound.kwargs)


def check_trainable(function_name: str, model: keras.Model) -> None:
    """Refuse a `FirstBatch` with nothing to train, or with an optimizer that was built for other variables."""
    trainable = model.trainable_variables
    language_model = model.known_language_model()
    if language_model is not None and language_model.quantized_to is not None and language_model.lora is None:
        raise ValueError(
            f"{function_name}: a quantised model must have adapters, since its kernels can't be trained: "
            f"model.enable_lora(rank=8). Got a model quantised to {language_model.quantized_to!r} without adapters."
        )
    if not trainable:
        raise ValueError(f"{function_name}: the model must have trainable weights. Got none.")
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Divided weights have their own check.
    if optimizer is None or not optimizer.built or is_divided(model):
        return
    known = {id(variable) for variable in optimizer._trainable_variables}
    unknown = [variable.path for variable in trainable if id(variable) not in known]
    if unknown:
        raise ValueError(
            f"{function_name}: the optimizer must be built for the trainable variables; compile again after changing "
            f"which ones are, as enable_lora does. Got one without {unknown[0]}."
        )


@contextlib.contextmanager
def _weights_restored_on_error(model):
    """Restore weights that Keras, on JAX, has moved out of their variables for a step that never ran."""
    # Variables without a value return random ones. Values that a step has consumed are lost.
    variables = [*model.variables, *getattr(model.optimizer, "variables", ())]
    is_jax = keras.backend.backend() == "jax"
    values = [(variable, variable._value) for variable in variables if is_jax and variable._value is not None]
    try:
        yield
    finally:
        for variable, value in values:
            if variable._value is None and not value.is_deleted():
                variable.assign(value)


def check_tokens(language_model: keras.Model, *data) -> None:
    """Refuse a dataset whose documents declare, by a method `check_model`, that they are for another model."""
    for dataset in data:
        while isinstance(dataset, keras.utils.PyDataset):
            # Looked up by name: modules that know about files are above the models.
            check_model = getattr(getattr(dataset, "documents", None), "check_model", None)
            if check_model is not None and language_model is not None:
                check_model(language_model)
            dataset = getattr(dataset, "data", None)


def _bound(method, args, kwargs) -> inspect.BoundArguments:
    """The arguments of one of Keras's methods, which must have no class weights."""
    bound = inspect.signature(method).bind(*args, **kwargs)
    # Keras would take the argmax of a row of targets for the row's only class.
    if bound.arguments.get("class_weight") is not None:
        raise ValueError(
            f"{method.__name__}: class weights must be left out, as each token is a class: give tokens their weights "
            f"by sample_weight. Got class_weight={reprlib.repr(bound.arguments['class_weight'])}."
        )
    return bound


def _checked_data(function_name, rules, x, y, weights):
    """The same data after the check: lists as arrays, and a generator as a new one that yields the same batches."""
    if isinstance(x, (dict, list, tuple)) or _is_array(x):
        data = (
            _rows(function_name, x),
            as_rows(function_name, y, "targets"),
            as_rows(function_name, weights, "weights"),
        )
        check_batch(function_name, rules, *data)
        return data
    first = None
    if isinstance(x, types.GeneratorType):
        taken = list(itertools.islice(x, 1))
        # The batch is put back. Keras takes no other kind of iterator than a generator.
        first, x = (taken or [None])[0], (batch for batch in itertools.chain(taken, x))
    elif isinstance(x, keras.utils.PyDataset):
        first = None if x.num_batches == 0 else x[0]
    elif isinstance(x, Iterable):
        first = next(iter(_in_this_process(x)), None)
    if first is not None:
        check_batch(function_name, rules, *keras.utils.unpack_x_y_sample_weight(first))
    return x, y, weights


def check_batch(function_name: str, rules: BatchRules, x, y=None, weights=None) -> None:
    """Refuse a batch that breaks a rule; the values of tensors are checked too."""
    inputs = {name: _known(values) for name, values in x.items()} if isinstance(x, dict) else _known(x)
    inputs = check_inputs(function_name, inputs, *rules[:3])
    if rules.wants_targets and y is None:
        raise ValueError(
            f"{function_name}: targets must be given: for each token the next one, shape (B, T). Got none."
        )
    token_ids = inputs["token_ids"] if isinstance(inputs, dict) else inputs
    if not rules.targets_are_ids or not isinstance(token_ids, np.ndarray):
        return
    shape, targets, weights = token_ids.shape, _known(y), _known(weights)
    if isinstance(targets, np.ndarray):
        if targets.shape not in (shape, (*shape, 1)):
            raise ValueError(
                f"{function_name}: targets must be one for each token, shape {shape}. Got shape {targets.shape}."
            )
        targets = targets.reshape(shape)
    counts = np.ones(shape, bool)
    if isinstance(weights, np.ndarray):
        if weights.shape not in (shape, shape[:1], (shape[0], 1)):
            raise ValueError(
                f"{function_name}: sample weights must be one for each token or row, shape {shape} or {shape[:1]}. "
                f"Got shape {weights.shape}."
            )
        # A target without weight may be anything.
        counts = np.broadcast_to(weights.reshape(shape[0], -1) != 0, shape)
    if isinstance(targets, np.ndarray) and rules.ignored is not None:
        counts = counts & (targets != rules.ignored)
    check_token_ids(function_name, targets, rules.vocabulary_size, what="targets", counts=counts)


def _rows(function_name, x):
    if isinstance(x, dict):
        return {name: as_rows(function_name, values, name) for name, values in x.items()}
    is_rows = isinstance(x, (list, tuple)) and all(isinstance(row, (list, tuple, range)) for row in x)
    return as_rows(function_name, x) if is_rows else x


def _known(values):
    """A NumPy array if the values can be read; otherwise unchanged."""
    # If other processes hold parts of it, the values can't be read.
    if not _is_array(values) or not getattr(values, "is_fully_addressable", True):
        return values
    return ops.convert_to_numpy(values) if ops.is_tensor(values) else np.asarray(values)


def _is_array(values) -> bool:
    """Whether it is an array, a tensor of any package, or a table."""
    return ops.is_tensor(values) or hasattr(values, "__array__")


def _in_this_process(loader):
    """A `DataLoader` without workers, which would be started for one batch; anything else unchanged."""
    if getattr(loader, "num_workers", 0) and getattr(loader, "worker_init_fn", None) is None:
        loader = copy.copy(loader)
        loader.num_workers = 0
    return loader
