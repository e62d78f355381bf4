"""A language model with time divided over devices, for contexts that exceed the memory of one."""

import importlib
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_griffin.distribution.time_along import require_jax
from keras_griffin.models import LanguageModel
from keras_griffin.models.documents import check_segment_ids
from keras_griffin.models.token_ids import check_token_ids
from keras_griffin.models.training.chunked_loss import ChunkedLoss
from keras_griffin.models.training.shared_model import SharedModel
from keras_griffin.shapes import Tensor


def sequence_parallel(
    model: LanguageModel,
    device_mesh: keras.distribution.DeviceMesh | None = None,
    *,
    axis_name: str = "sequence",
    batch_axis_name: str | None = None,
    logits: bool = True,
) -> "SequenceParallel":
    """A model that shares another one's weights, which `fit` trains, and divides every sequence over devices.

    Device k of n has the steps from k T / n to (k + 1) T / n - 1, and all weights. Logits, loss and gradients are those
    of the model over the whole sequence:

    - The recurrence runs from zero on each device; the devices exchange their final states and the products of their
      decays, `(B, R)` each; then it runs again from the right initial states.
    - The convolution gets its K - 1 steps from the previous device, and local attention its W - 1 keys and values.

    So a device stores the activations of T / n steps, and communication does not grow with T.

    The result is a `keras.Model` for `fit`, `evaluate`, `predict` and, through `stateless_call`, for custom loops. Its
    inputs are token ids `(B, T)`, or those of `LanguageModel.packed`,
    `{"token_ids": (B, T), "segment_ids": (B, T)}`. Padding, id 0, is allowed between documents, but not inside one.

    Args:
        model: a `LanguageModel` of recurrent blocks, local attention, and custom mixers that look along time only
            through ops of this package, and state by `reach_of` how far. Its `rematerialize` applies here too.
        device_mesh: a `keras.distribution.DeviceMesh`; None for one axis of all devices.
        axis_name: the axis of the mesh along which time is divided.
        batch_axis_name: the axis along which rows are divided; None if every device has all rows.
        logits: whether to return logits; if not, the loss is computed in chunks, as in `LanguageModel.packed`.

    Returns:
        A `SequenceParallel`, compiled with a new optimizer of the same settings as the model's, and with its loss,
        whole or in chunks.

    Raises:
        ValueError: the backend is not JAX, the model is not a `LanguageModel`, a mixer looks at all steps so far, or
            the mesh has no such axis. In a call: the devices don't divide the steps or the rows, token or segment ids
            are invalid, or there is padding inside a document. (In a compiled call, where that can't be checked, the
            logits after such padding are NaN.)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2; the scan over devices: the released code of Griffin.
    """
    require_jax("sequence_parallel")
    if not isinstance(model, LanguageModel):
        raise ValueError(f"sequence_parallel: model must be a LanguageModel. Got {model!r}.")
    kind = SequenceParallel if logits else SequenceParallelWithoutLogits
    parallel = kind(model, device_mesh, axis_name, batch_axis_name, name=f"{model.name}_sequence_parallel")
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    parallel.compile(optimizer, **({"loss": model.loss} if logits else {}))
    return parallel


@keras.saving.register_keras_serializable("keras_griffin")
class SequenceParallel(SharedModel):
    """The model that `sequence_parallel` returns; its arguments are documented there.

    Input shape: `(B, T)`, or `{"token_ids": (B, T), "segment_ids": (B, T)}`, integers.

    Output shape: `(B, T, V)` logits, float32, each device with its own steps.
    """

    batch_names = ("token_ids", "segment_ids")
    may_come_alone = True
    gives_logits = True

    def __init__(
        self,
        language_model: LanguageModel,
        device_mesh: keras.distribution.DeviceMesh | dict | None = None,
        axis_name: str = "sequence",
        batch_axis_name: str | None = None,
        **kwargs: Any,
    ):
        # Weights are cast by the layers that use them.
        super().__init__(language_model, autocast=False, **kwargs)
        self.device_mesh = _mesh(device_mesh, axis_name)
        self.axis_name = axis_name
        self.batch_axis_name = batch_axis_name
        self._check_axes()
        self._jax = importlib.import_module("keras_griffin.distribution.jax_sequence_parallel")
        self._check_mixers()
        self._axes = self.device_mesh.backend_mesh, axis_name, batch_axis_name
        self._divided = self._jax.divided_model(language_model, *self._axes, self.gives_logits)

    def __call__(self, inputs, *args, **kwargs):
        """Logits of token ids; see the class."""
        token_ids, segment_ids = _parts(inputs)
        check_token_ids("sequence_parallel", token_ids, self.language_model.config.vocabulary_size)
        self._check_sizes(token_ids)
        if segment_ids is not None:
            check_segment_ids("sequence_parallel", segment_ids, token_ids)
            _check_documents(segment_ids)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs):
        """See the class."""
        token_ids, segment_ids = _parts(inputs)
        if segment_ids is None:
            segment_ids = ops.ones_like(token_ids)
        # Inside a compiled step they are its arguments, and must be passed on as such.
        values = [variable.value for variable in self.language_model.variables]
        return self._divided(values, ops.cast(token_ids, "int32"), ops.cast(segment_ids, "int32"))

    def get_config(self):
        """The constructor's arguments; of the mesh only shape and axes, for the devices present when it is loaded."""
        mesh = {"shape": list(self.device_mesh.shape), "axis_names": list(self.device_mesh.axis_names)}
        axes = {"axis_name": self.axis_name, "batch_axis_name": self.batch_axis_name}
        return {**super().get_config(), "device_mesh": mesh, **axes}

    def _check_axes(self):
        names = self.device_mesh.axis_names
        wanted = [self.axis_name] if self.batch_axis_name is None else [self.axis_name, self.batch_axis_name]
        if len({*wanted} & {*names}) < len(wanted):
            raise ValueError(
                "sequence_parallel: axis_name and batch_axis_name must be two axes of the mesh. "
                f"Got {' and '.join(map(repr, wanted))}, and a mesh with {', '.join(map(repr, names))}."
            )

    def _check_mixers(self):
        config = self.language_model.config
        for name, block in zip(config.mixer_names, self.language_model.blocks, strict=True):
            if block.mixer.divisible_reach_of(**config.mixer_arguments(name)) is None:
                raise ValueError(
                    "sequence_parallel: every mixer must state by `reach_of`, defined with its `call` or `advance`, "
                    f"how many steps it looks back. Got {type(block.mixer).__name__} in {block.name}, which does not."
                )

    def _check_sizes(self, token_ids):
        sizes = dict(zip(self.device_mesh.axis_names, self.device_mesh.shape, strict=True))
        for axis, name, what in ((0, self.batch_axis_name, "rows"), (1, self.axis_name, "steps")):
            size = np.shape(token_ids)[axis]
            if name is not None and size is not None and size % sizes[name]:
                raise ValueError(
                    f"sequence_parallel: the {sizes[name]} devices along the axis {name!r} must divide the {what}. "
                    f"Got {size} {what}."
                )


@keras.saving.register_keras_serializable("keras_griffin")
class SequenceParallelWithoutLogits(SequenceParallel, ChunkedLoss):
    """The same without logits: `(B, T, D)` vectors, and the loss of `ChunkedLoss`."""

    gives_logits = False

    def __init__(self, language_model: LanguageModel, *args: Any, **kwargs: Any):
        super().__init__(language_model, *args, **kwargs)
        self._cross_entropy = self._jax.divided_cross_entropy(*self._axes, language_model.token_embedding.soft_cap)

    def losses_of(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """As in `ChunkedLoss`; each device computes the logits of its own steps."""
        table = ops.cast(self.language_model.token_embedding.output_table, vectors.dtype)
        return self._cross_entropy(vectors, ops.convert_to_tensor(table), ops.cast(targets, "int32"))


def _parts(inputs):
    """Token ids and segment ids, or None."""
    return (inputs["token_ids"], inputs.get("segment_ids")) if isinstance(inputs, dict) else (inputs, None)


def _mesh(device_mesh, axis_name):
    if device_mesh is None:
        devices = keras.distribution.list_devices()
        return keras.distribution.DeviceMesh((len(devices),), (axis_name,), devices)
    if isinstance(device_mesh, dict):
        devices = keras.distribution.list_devices()[: math.prod(device_mesh["shape"])]
        return keras.distribution.DeviceMesh(**device_mesh, devices=devices)
    if not isinstance(device_mesh, keras.distribution.DeviceMesh):
        raise ValueError(
            f"sequence_parallel: device_mesh must be a keras.distribution.DeviceMesh. Got {device_mesh!r}."
        )
    return device_mesh


def _check_documents(segment_ids):
    """Check that there is no padding inside a document, if values are known."""
    if not isinstance(segment_ids, np.ndarray):
        return
    rows, steps = np.nonzero(segment_ids > 0)
    ids = segment_ids[rows, steps]
    is_interrupted = (np.diff(rows) == 0) & (np.diff(ids) == 0) & (np.diff(steps) > 1)
    if is_interrupted.any():
        place = np.argmax(is_interrupted)
        raise ValueError(
            "sequence_parallel: padding must be between documents, not inside one. "
            f"Got segment id {ids[place]} on both sides of padding in row {rows[place]}."
        )
