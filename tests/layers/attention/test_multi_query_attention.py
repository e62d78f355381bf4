import numpy as np
import pytest

from keras_griffin.layers.attention.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.testing.arrays import as_array


def test_a_document_starts_at_each_reset_that_is_not_masked():
    reset = np.array([[False, True, False, True, True]])
    mask = np.array([[True, True, True, False, True]])
    np.testing.assert_array_equal(as_array(document_numbers(reset, None)), [[0, 1, 1, 2, 3]])
    np.testing.assert_array_equal(as_array(document_numbers(reset, mask)), [[0, 1, 1, 1, 2]])


def test_a_subclass_decides_which_keys_are_seen():
    for name, arguments in (("_step", 4), ("_steps", 6)):
        with pytest.raises(NotImplementedError, match=rf"^{name}: MultiQueryAttention must define it\.$"):
            getattr(MultiQueryAttention(2), name)(*[None] * arguments)


def test_the_rotated_channels_are_an_even_number():
    with pytest.raises(ValueError, match=r"rotate an even number of channels\. Got rotary_fraction 0.5 and 2 channels"):
        MultiQueryAttention(2, head_dim=2)
