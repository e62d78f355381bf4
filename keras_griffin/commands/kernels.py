"""Which kernels a model will use."""

from keras_griffin.models import GriffinConfig
from keras_griffin.ops.implementation import find_op


def chosen_kernels(
    config: GriffinConfig, batch_size: int, length: int, dtype: str = "float32", training: bool = False
) -> dict[str, str]:
    """The implementation of each op that a model uses, for the shapes of a batch.

    Args:
        config: the model's.
        batch_size: B.
        length: T.
        dtype: the compute dtype; the recurrence is in float32 whatever it is.
        training: whether the model will be compiled and differentiated.

    Raises:
        ValueError: an implementation was asked for that is not there or can't serve such calls.
    """
    uses = {
        "recurrent": ("linear_scan", (batch_size, length, config.recurrence_width), "float32"),
        "local_mqa": ("local_attention", (batch_size, length, config.num_heads, config.head_dim), dtype),
    }
    chosen = [uses[mixer] for mixer in dict.fromkeys(config.mixer_names) if mixer in uses]
    return {name: find_op(name).explain(shape, dtype, not training).chosen for name, shape, dtype in chosen}
