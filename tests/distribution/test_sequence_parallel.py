import re

import keras
import numpy as np
import pytest

from keras_griffin.distribution import sequence_parallel
from keras_griffin.distribution.sequence_parallel import SequenceParallel
from keras_griffin.models import GriffinConfig, Hawk, MQATransformer
from keras_griffin.testing.closeness import assert_close
from tests.distribution.eight_devices import assert_they_pass

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone divides time")
CONFIG = GriffinConfig(vocabulary_size=11, width=8, num_layers=1, num_heads=2, window=3, num_gate_blocks=1)
TOKENS = np.arange(12).reshape(2, 6) % 11


@on_jax
@pytest.mark.slow
def test_on_eight_devices():
    assert_they_pass("sequence_parallel")


def refusal(*arguments, **options):
    with pytest.raises(ValueError) as error:
        sequence_parallel(*arguments, **options)
    return str(error.value)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX divides time")
def test_another_backend_is_refused():
    sentence = "sequence_parallel: the backend must be jax, whose shard_map divides time over devices. Got "
    assert refusal(Hawk(CONFIG)) == f"{sentence}{keras.backend.backend()}."


@on_jax
def test_a_model_that_cannot_be_divided_is_refused():
    assert refusal(MQATransformer(CONFIG)) == (
        "sequence_parallel: every mixer must state by `reach_of`, defined with its `call` or `advance`, "
        "how many steps it looks back. Got GlobalMQA in block_0, which does not."
    )
    assert refusal("griffin") == "sequence_parallel: model must be a LanguageModel. Got 'griffin'."


@on_jax
def test_a_mesh_without_the_axes_is_refused():
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), keras.distribution.list_devices()[:1])
    sentence = "sequence_parallel: axis_name and batch_axis_name must be two axes of the mesh. Got "
    with_mesh = ", and a mesh with 'batch', 'model'."
    assert refusal(Hawk(CONFIG), mesh) == f"{sentence}'sequence'{with_mesh}"
    for axes in ({"batch_axis_name": "rows"}, {"batch_axis_name": "batch"}):
        assert refusal(Hawk(CONFIG), mesh, axis_name="batch", **axes) == (
            f"{sentence}'batch' and {axes['batch_axis_name']!r}{with_mesh}"
        )
    got = refusal(Hawk(CONFIG), 8)
    assert got == "sequence_parallel: device_mesh must be a keras.distribution.DeviceMesh. Got 8."


@on_jax
@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (TOKENS + 5, "token ids must be from 0 to 10. Got ids from 5 to 15."),
        ({"token_ids": TOKENS, "segment_ids": TOKENS - 1}, "segment_ids must be at least 0. Got -1."),
        (
            {"token_ids": TOKENS, "segment_ids": np.array([[1] * 6, [1, 3, 0, 0, 3, 0]])},
            "padding must be between documents, not inside one. Got segment id 3 on both sides of padding in row 1.",
        ),
    ],
)
def test_ids_that_are_known_to_be_wrong_are_refused(inputs, sentence):
    with pytest.raises(ValueError, match=re.escape(f"sequence_parallel: {sentence}")):
        sequence_parallel(Hawk(CONFIG))(inputs)


@on_jax
def test_it_shares_the_weights_and_is_compiled_as_the_model_is():
    model = Hawk(CONFIG)
    model.compile(keras.optimizers.SGD(0.5), loss=model.loss)
    parallel = sequence_parallel(model)
    assert isinstance(parallel, SequenceParallel)
    assert parallel.trainable_variables == model.trainable_variables
    assert parallel.loss is model.loss
    assert float(parallel.optimizer.learning_rate) == 0.5 and parallel.optimizer is not model.optimizer
    assert_close(parallel(TOKENS), model(TOKENS))
