"""Pieces of prompts as the rows of one call."""

import numpy as np
import pytest

from keras_griffin.serving.engine import prompts


@pytest.mark.any_backend
@pytest.mark.parametrize("is_compiled", [True, False])
def test_pieces_are_aligned_at_their_ends(monkeypatch, is_compiled):
    monkeypatch.setattr(prompts, "compiles", lambda: is_compiled)
    pieces = [np.array([1, 2, 3], "int32"), np.array([4], "int32")]
    token_ids, mask = prompts.in_few_shapes(pieces)
    assert token_ids.shape == ((4, 8) if is_compiled else (2, 3))
    np.testing.assert_array_equal(token_ids[:2, -3:], [[1, 2, 3], [0, 0, 4]])
    np.testing.assert_array_equal(mask.sum(1), [3, 1, 1, 1] if is_compiled else [3, 1])
    # Without a mask where nothing is masked, and nothing is compiled.
    assert (prompts.in_few_shapes(pieces[:1])[1] is None) == (not is_compiled)
