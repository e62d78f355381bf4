"""A token for each row, by its own sampling."""

import keras
import numpy as np
import pytest

from keras_griffin.generation import Greedy, Temperature, TopP
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.steps import preparing, score, scored, step


@pytest.mark.any_backend
def test_each_row_has_its_own_sampling():
    model = Griffin(GriffinConfig(32, 8, 1, num_heads=1))
    samplers = Greedy(), Temperature(0.7), TopP(0.6, 1.3), TopP(0.2), Temperature(5.0)
    temperature, top_p = np.array([[0, 0.5], [0.7, 1], [1.3, 0.6], [1, 0.2], [5, 1]], "float32").T
    uniform = np.linspace(0.1, 0.9, 5, dtype="float32")
    state = model.prefill([[1, 2, 3]] * 5)
    logits = keras.ops.convert_to_numpy(model.logits(state.last[:, None])[:, 0])
    ids, scores, after = step(preparing(model), state, temperature, top_p, uniform, is_scored=True)
    wanted = [int(sampler(logits[row : row + 1], uniform[row : row + 1])[0]) for row, sampler in enumerate(samplers)]
    assert ids.tolist() == wanted
    logprobs = logits.astype("float64") - np.log(np.exp(logits.astype("float64")).sum(1, keepdims=True))
    found = scored(wanted[1], scores, (1,), 3)
    assert found.token_id == wanted[1] and [token for token, _ in found.top] == np.argsort(-logits[1])[:3].tolist()
    np.testing.assert_allclose(found.logprob, logprobs[1, wanted[1]], atol=1e-5)
    # The tokens that were chosen have been read.
    of_prompt, _ = score(preparing(model), model.prefill([[1, 2, 3]]), np.array([[wanted[2], 7]], "int32"), None)
    np.testing.assert_allclose(of_prompt[0][0, 0], logprobs[2, wanted[2]], atol=1e-5)
    assert keras.ops.convert_to_numpy(after.tokens).tolist() == [4] * 5
