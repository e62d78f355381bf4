"""The legend of axis letters: read this first.

Shapes in this package are written with these letters; a letter that only one file uses is explained there.

    B   batch: independent rows
    T   time: positions along the sequence
    S   steps of keys, T of them the queries' own
    D   width of the model, or the channels of an op's input
    R   recurrence width: channels inside the recurrent block (D_RNN in the paper)
    M   width inside the gated MLP (in the paper, M is the factor 3 and this is M D)
    N   query heads
    K   key and value heads (1 in multi-query attention); as (K, D), the taps of a convolution
    H   channels of one head
    G   blocks of a block-diagonal matrix
    W   window of local attention, in keys, including the query's own
    V   vocabulary
"""

from typing import Any, TypedDict

#: A tensor of the active backend, a KerasTensor, or a NumPy array.
Tensor = Any
#: The state of a layer: a NamedTuple of tensors, each with a leading axis B, or a tuple of such states.
State = Any


class ModelOptions(TypedDict, total=False):
    """The options of Keras's that a model takes by name."""

    name: str | None
    trainable: bool


class LayerOptions(ModelOptions, total=False):
    """The options of Keras's that a layer takes by name; the dtype may be a `keras.DTypePolicy`."""

    dtype: Any


class RecurrentOptions(LayerOptions, total=False):
    """The options of `keras_griffin.layers.RecurrentUnit`, which every unit takes by name."""

    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool


class ExpandedMixerOptions(LayerOptions, total=False):
    """The options of `keras_griffin.layers.base.mixer.ExpandedMixer`, which its subclasses take by name."""

    expand: int
    conv_kernel_size: int
    output_variance_scale: float
