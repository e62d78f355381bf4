"""Low-rank adapters: a few weights next to a model's kernels, and the only ones that are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_griffin.checks import COUNT, POSITIVE, checked
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.base.sublayers import with_parts
from keras_griffin.layers.projection import kernel_of
from keras_griffin.models.parameters import is_divided, without_garbage_collection
from keras_griffin.models.saving.quantization import MODES
from keras_griffin.models.saving.weights import as_array, assign


@dataclass(frozen=True)
class Lora:
    """A model's adapters, in a form hidden from Keras, which would track the layers a second time."""

    rank: int
    alpha: float
    #: As given by the user; None for every projection.
    targets: tuple[str, ...] | None
    layers: tuple[keras.layers.Dense, ...]
    #: The variables that were trainable before.
    frozen: tuple[keras.Variable, ...]

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """A and B of each layer, by path."""
        pairs = ((layer.lora_kernel_a, layer.lora_kernel_b) for layer in self.layers)
        return {variable.path: variable for pair in pairs for variable in pair}


def enable_lora(
    model: keras.Model, rank: int, *, targets: Sequence[str] | None = None, alpha: float | None = None
) -> None:
    r"""Add a low-rank adapter to each kernel, and freeze everything else.

        y = x W + alpha / rank (x A) B + b        A: (D, rank), he-uniform;   B: (rank, U), zero

    So at first the model computes the same as before. A and B are float32 and used in the compute dtype; only they are
    trained, also in `packed()` and `carried()` models. The base may be quantised to `"int8"` or `"int4"`. The optimizer
    starts afresh, with the same settings. `save_adapter` saves A and B; `merge_lora` adds them to the kernels; until
    then `save` and `save_weights` are refused, because Keras would write merged kernels.

    Args:
        model: a `LanguageModel`.
        rank: the rank of A B, at most the smaller of D and U of the widest projection.
        targets: names of projections: `"up"` is that of every block, `"mlp/gate"` and `"mixer/gate"` distinguish two of
            the same name, and `"block_0/mlp/up"` is a single one. None for every projection of the mixers and of the
            gated MLPs, but not the gates of a recurrence or the embedding.
        alpha: None for the rank, which gives a scale of 1.

    Raises:
        ValueError: an argument is wrong; no projection has such a name, or all are narrower than the rank; the model
            already has LoRA, is quantised to anything else, or is divided by `keras_griffin.distribution.fully_shard`.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> model.enable_lora(4, targets=["query", "value"])
        >>> [variable.path for variable in model.trainable_variables][:2]
        ['block_2/mixer/query/lora_kernel_a', 'block_2/mixer/query/lora_kernel_b']

    Reference: Hu et al. 2021 (arXiv 2106.09685), section 4.1; Dettmers et al. 2023 (arXiv 2305.14314) for a quantised
    base.
    """
    rank = checked("enable_lora", COUNT, rank=rank)
    alpha = checked("enable_lora", POSITIVE.or_none(), alpha=alpha)
    check_undivided("enable_lora", model)
    taken = [layer.path for layer in with_parts(model.layers) if getattr(layer, "lora_enabled", False)]
    if taken:
        raise ValueError(
            f"enable_lora: the model must not have LoRA yet. Got {len(taken)} layers with LoRA, such as {taken[0]}."
        )
    if model.quantized_to not in (None, *MODES):
        raise ValueError(
            f"enable_lora: a quantised model must be quantised to int8 or int4. Got {model.quantized_to!r}."
        )
    layers = target_layers("enable_lora", model, targets)
    # A narrower target may have a higher rank than it can use: dt of a Mamba is narrow by design.
    shapes = {layer.path: (kernel_of(layer).shape[0], layer.units) for layer in layers}
    widest = max(shapes, key=lambda path: min(shapes[path]))
    if rank > min(shapes[widest]):
        raise ValueError(
            f"enable_lora: rank must be at most {min(shapes[widest])}, the smaller side of the widest target, {widest} "
            f"{shapes[widest]}. Got {rank}."
        )
    frozen = tuple(model.trainable_variables)
    for variable in frozen:
        variable.trainable = False
    for layer in layers:
        layer.enable_lora(rank, alpha, a_initializer=random_initializer(keras.initializers.HeUniform()))
    targets = None if targets is None else tuple(targets)
    model.lora = Lora(rank, float(alpha or rank), targets, layers, frozen)
    _train_other_variables(model)


def merge_lora(model: keras.Model) -> None:
    """Add each adapter to its kernel and remove it; the weights that `enable_lora` froze are trainable again.

        W <- W + alpha / rank A B

    The sum is computed in float32 and rounded once to the kernel's dtype. The optimizer starts afresh.

    Args:
        model: a `LanguageModel` that has LoRA.

    Raises:
        ValueError: it has none, is quantised, or is divided by `keras_griffin.distribution.fully_shard`.

    Reference: Hu et al. 2021 (arXiv 2106.09685), section 4.1, "No Additional Inference Latency".
    """
    lora = lora_of("merge_lora", model)
    check_undivided("merge_lora", model)
    if model.quantized_to is not None:
        raise ValueError(
            "merge_lora: the kernels must not be quantised, since rounding would lose what was learned; use "
            f"load_adapter(..., verify=False) on the unquantised model instead. Got {model.quantized_to!r}."
        )
    with without_garbage_collection():
        for layer in lora.layers:
            a, b = as_array(layer.lora_kernel_a), as_array(layer.lora_kernel_b)
            kernel = kernel_of(layer)
            wide = as_array(kernel).astype(np.promote_types(np.dtype(kernel.dtype), "float32"))
            assign(kernel, wide + (lora.alpha / lora.rank) * (a @ b))
            layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
            del layer.lora_kernel_a, layer.lora_kernel_b
    for variable in lora.frozen:
        variable.trainable = True
    model.lora = None
    _train_other_variables(model)


def lora_of(function_name: str, model: keras.Model) -> Lora:
    """A model's adapters, which it must have."""
    if model.lora is None:
        raise ValueError(f"{function_name}: the model must have LoRA, by enable_lora or load_adapter. Got one without.")
    return model.lora


def check_no_lora(function_name: str, model: keras.Model | None) -> None:
    """Refuse a language model, if it is known, with adapters, where they would be lost or cause errors."""
    if model is not None and model.lora is not None:
        raise ValueError(
            f"{function_name}: the model must have no LoRA: merge_lora adds it to the kernels, save_adapter saves it "
            f"separately. Got LoRA of rank {model.lora.rank}."
        )


def check_undivided(function_name: str, model: keras.Model) -> None:
    """Refuse a model whose weights `keras_griffin.distribution.fully_shard` has divided."""
    if is_divided(model):
        raise ValueError(f"{function_name}: the weights must not be divided. Got a model that fully_shard has divided.")


def target_layers(
    function_name: str, model: keras.Model, targets: Sequence[str] | None
) -> tuple[keras.layers.Dense, ...]:
    """The projections of a model that match one of some names; see `enable_lora`."""
    layers = {layer.path: layer for layer in with_parts(model.blocks) if type(layer) is keras.layers.Dense}
    known = f"names of projections, such as {', '.join(dict.fromkeys(path.split('/')[-1] for path in layers))}"
    if targets is None:
        return tuple(layers.values())
    if isinstance(targets, str) or not isinstance(targets, Sequence) or not targets:
        raise ValueError(f"{function_name}: targets must be a list of {known}; None means all. Got {targets!r}.")
    for target in targets:
        if not any(_is_called(path, target) for path in layers):
            raise ValueError(f"{function_name}: targets must be {known}. Got {target!r}.")
    return tuple(layer for path, layer in layers.items() if any(_is_called(path, target) for target in targets))


def _is_called(path, name) -> bool:
    return isinstance(name, str) and f"/{path}".endswith(f"/{name}") and bool(name)


def _train_other_variables(model):
    """Discard the optimizer's variables, and the functions that Keras has compiled."""
    if model.optimizer is not None:
        model.optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    model.train_function = model.test_function = model.predict_function = None
