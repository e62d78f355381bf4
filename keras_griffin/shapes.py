"""The legend of axis letters: read this first.

Every shape in this package is written with these letters.

    B   batch: rows that know nothing of each other
    T   time: positions along the sequence
    D   width of the model, or the channels of whatever an op is given
    R   recurrence width: channels inside the recurrent block (D_RNN in the paper)
    M   width inside the gated MLP (3 D in the paper)
    N   query heads
    K   key and value heads (1 in multi-query attention); as (K, D), the taps of a convolution
    H   channels of one head
    G   blocks of a block-diagonal matrix
    W   window of local attention, in keys, the query's own included
    V   vocabulary
"""

from typing import Any

#: A tensor of the active backend, a KerasTensor, or a NumPy array.
Tensor = Any
#: The state of a layer: a NamedTuple of tensors, each with a leading axis B, or a tuple of such states.
State = Any
