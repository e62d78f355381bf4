"""How well a text is predicted, in units that compare with a compressor's."""

import math

import keras


@keras.saving.register_keras_serializable("keras_griffin")
class BitsPerByte(keras.metrics.MeanMetricWrapper):
    r"""The mean of \(-\log_2 p(\text{next byte})\): what an arithmetic coder would need with the model's predictions.

    With tokens other than bytes it is the bits for each token. The mean is weighted where sample weights are given, so
    pass it to `compile` among the `weighted_metrics`.

    Args:
        name: the name in the logs.
        dtype: of the accumulation; float32 unless said otherwise.

    Examples:
        >>> import math
        >>> import numpy as np
        >>> from keras_griffin.training.metrics import BitsPerByte
        >>> metric = BitsPerByte()
        >>> metric.update_state(np.zeros((2, 5), "int32"), np.zeros((2, 5, 256), "float32"))
        >>> f"{float(metric.result()):.3f}"
        '8.000'
    """

    def __init__(self, name="bits_per_byte", dtype=None):
        super().__init__(_bits, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def _bits(targets, logits):
    """The bits for each target `(B, T)` under the logits `(B, T, V)`."""
    return keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True) / math.log(2)
