"""A look at what `fit`, `evaluate` and `predict` are given, before the first step.

A step that fails comes too late: on JAX the weights are in its hands and may be lost with it. One that does not fail
has trained on anything.
"""

import contextlib
import copy
import inspect
import itertools
import types
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.models.lora import check_no_lora
from keras_griffin.models.parameters import begun_anew_after_a_fault, divided_parameters_of, with_whole_weights
from keras_griffin.models.token_ids import as_rows, check_inputs, check_token_ids

#: The arguments of a method of Keras that hold batches.
_DATA = ("x", "y", "sample_weight")


class BatchRules(NamedTuple):
    """What a model asks of its batches."""

    #: The inputs' names; none where token ids come alone.
    names: tuple[str, ...]
    #: V.
    vocabulary_size: int
    #: Whether token ids may come alone though there are names.
    may_come_alone: bool = False
    #: Whether there is a loss, and so there must be targets.
    wants_targets: bool = False
    #: Whether targets are token ids.
    targets_are_ids: bool = False
    #: A target that the loss leaves out; None where there is none.
    ignored: int | None = None


def rules_of_loss(loss) -> dict:
    """What a loss, as `compile` takes it, asks of targets; fields of `BatchRules`."""
    # Other losses have other targets.
    is_ours = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    is_named = loss in ("sparse_categorical_crossentropy", keras.losses.sparse_categorical_crossentropy)
    return {
        "wants_targets": loss is not None,
        "targets_are_ids": is_ours or is_named,
        "ignored": loss.ignore_class if is_ours else None,
    }


class FirstBatch:
    """A base, before `keras.Model`, of models that look at their data before the first step.

    Arrays are looked at whole. Of a generator the first batch is taken and put back. A `keras.utils.PyDataset` is asked
    for its first batch, and a loader for a new iterator, as Keras itself does before a first `fit`.

    A subclass gives `batch_rules`.
    """

    def batch_rules(self) -> BatchRules:
        """What the model asks of its batches."""
        raise NotImplementedError(f"batch_rules: {type(self).__name__} must define it.")

    def __call__(self, inputs, *args, **kwargs):
        """What `call` gives, of inputs that are not known to be wrong."""
        rules = self.batch_rules()
        inputs = check_inputs(type(self).__name__, inputs, *rules[:3])
        return with_whole_weights(self, super().__call__, inputs, *args, **kwargs)

    def fit(self, *args, **kwargs):
        """Train; see `keras.Model.fit`.

        Raises:
            ValueError: the first batch, or that of the data for validation, breaks a rule; see `BatchRules`; nothing is
                trainable; or the optimizer is of other variables.
        """
        check_trainable("fit", self)
        backends.active().before_first_step(self)
        return self._look_first(super().fit, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """Evaluate; see `keras.Model.evaluate`.

        Raises:
            ValueError: as in `fit`.
        """
        return self._look_first(super().evaluate, *args, **kwargs)

    def predict(self, *args, **kwargs):
        """What `call` gives of many batches; see `keras.Model.predict`.

        Raises:
            ValueError: as in `fit`.
        """
        return self._look_first(super().predict, *args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """One step; see `keras.Model.train_on_batch`."""
        check_trainable("train_on_batch", self)
        backends.active().before_first_step(self)
        with begun_anew_after_a_fault(self):
            return super().train_on_batch(*args, **kwargs)

    def known_language_model(self) -> keras.Model | None:
        """The language model that is trained, None where it is not known."""
        return getattr(self, "language_model", None)

    def save_own_variables(self, store):
        """For Keras, which would write merged kernels for a model with adapters."""
        check_no_lora("save", self.known_language_model())
        super().save_own_variables(store)

    def load_weights(self, *args, **kwargs):
        """Read weights from a file; see `keras.Model.load_weights`.

        Raises:
            ValueError: the language model has LoRA.
        """
        check_no_lora("load_weights", self.known_language_model())
        super().load_weights(*args, **kwargs)

    def load_own_variables(self, store):
        """For Keras, which would set both factors of an adapter to zero, and no gradient would ever come to them."""
        check_no_lora("load_own_variables", self.known_language_model())
        super().load_own_variables(store)

    def _look_first(self, method, *args, **kwargs):
        # Keras's own word for the validation of `fit`, which has been looked at.
        if "_use_cached_eval_dataset" in kwargs:
            return method(*args, **kwargs)
        name, rules = method.__name__, self.batch_rules()
        if name == "predict":
            rules = rules._replace(wants_targets=False, targets_are_ids=False)
        bound = inspect.signature(method).bind(*args, **kwargs)
        given = bound.arguments
        check_tokens(self.known_language_model(), given.get("x"), given.get("validation_data"))
        if given.get("x") is not None:
            looked_at = _looked_at(name, rules, *map(given.get, _DATA))
            given.update((part, data) for part, data in zip(_DATA, looked_at, strict=True) if part in given)
        validation = given.get("validation_data")
        if validation is not None:
            looked_at = _looked_at(name, rules, *keras.utils.unpack_x_y_sample_weight(validation))
            given["validation_data"] = looked_at if isinstance(validation, (list, tuple)) else looked_at[0]
        with _kept_where_a_first_step_fails(self), begun_anew_after_a_fault(self):
            return method(*bound.args, **bound.kwargs)


def check_trainable(function_name: str, model: keras.Model) -> None:
    """Refuse to train nothing, or with an optimizer that was built for other variables.

    Args:
        function_name: in whose name the error speaks.
        model: compiled, or not yet.

    Raises:
        ValueError: so it is.
    """
    trainable = model.trainable_variables
    if not trainable:
        raise ValueError(f"{function_name}: the model must have trainable weights. Got none.")
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Divided weights have a check of their own.
    is_divided = divided_parameters_of(model) is not None
    if optimizer is None or not optimizer.built or is_divided:
        return
    known = {id(variable) for variable in optimizer._trainable_variables}
    unknown = [variable.path for variable in trainable if id(variable) not in known]
    if unknown:
        raise ValueError(
            f"{function_name}: the optimizer must be of the variables that are trained; compile again where others "
            f"have become so, as by enable_lora. Got one without {unknown[0]}."
        )


@contextlib.contextmanager
def _kept_where_a_first_step_fails(model):
    """Put weights back that Keras, on JAX, has taken out of their variables for a step that was never made.

    It leaves variables without a value, which then give random ones. What a step has used up is gone.
    """
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
    """Refuse a dataset of documents that say themselves, by a method `check_model`, that they are for another model.

    So do those of a `keras_griffin.training.TokenFile`, which know their vocabulary and tokenizer. What is no
    `keras.utils.PyDataset`, or holds neither `documents` nor, as `data`, another dataset, is not looked into.

    Args:
        language_model: a `LanguageModel`; None where it is not known.
        *data: anything that `fit` takes.

    Raises:
        ValueError: so it is.
    """
    for dataset in data:
        while isinstance(dataset, keras.utils.PyDataset):
            # Asked for by name: what knows of files stands above the models.
            check_model = getattr(getattr(dataset, "documents", None), "check_model", None)
            if check_model is not None and language_model is not None:
                check_model(language_model)
            dataset = getattr(dataset, "data", None)


def _looked_at(function_name, rules, x, y, weights):
    """The same data, lists as arrays, and a generator whose first batch is taken as another one."""
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
        first, x = (taken or [None])[0], _put_back(taken, x)
    elif isinstance(x, keras.utils.PyDataset):
        first = None if x.num_batches == 0 else x[0]
    elif isinstance(x, Iterable) and not getattr(x, "is_read_once", False):
        first = next(iter(_in_this_process(x)), None)
    if first is not None:
        check_batch(function_name, rules, *keras.utils.unpack_x_y_sample_weight(first))
    return x, y, weights


def check_batch(function_name: str, rules: BatchRules, x, y=None, weights=None) -> None:
    """Refuse a batch that breaks a rule; tensors are looked into.

    Args:
        function_name: in whose name the error speaks.
        rules: of the model.
        x: the inputs: anything, as the next ones.
        y: the targets, or None.
        weights: the sample weights, or None.

    Raises:
        ValueError: so it is.
    """
    inputs = x
    if isinstance(x, dict):
        inputs = {name: _known(values) for name, values in x.items()}
    elif not isinstance(x, (list, tuple)):
        inputs = _known(x)
    inputs = check_inputs(function_name, inputs, *rules[:3])
    if rules.wants_targets and y is None:
        raise ValueError(
            f"{function_name}: targets must be given, for each token the one after it, shape (B, T). Got none."
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
        # What has no weight may be anything.
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
    """An array of NumPy where the values can be looked into; else as they are."""
    # Where other processes hold parts of it, nobody can look.
    if not _is_array(values) or not getattr(values, "is_fully_addressable", True):
        return values
    return ops.convert_to_numpy(values) if ops.is_tensor(values) else np.asarray(values)


def _is_array(values) -> bool:
    """Whether it is an array, a tensor of any package, or a table."""
    return ops.is_tensor(values) or hasattr(values, "__array__")


def _put_back(taken, rest):
    """A generator, since Keras takes no other iterator."""
    yield from taken
    yield from rest


def _in_this_process(loader):
    """A `DataLoader` without workers, which would be started for one batch; anything else as it is."""
    if getattr(loader, "num_workers", 0) and getattr(loader, "worker_init_fn", None) is None:
        loader = copy.copy(loader)
        loader.num_workers = 0
    return loader
