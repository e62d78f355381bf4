import copy
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.generation import Greedy, Temperature, TopK, TopP
from keras_griffin.generation.compile import model_functions, sampler_function
from keras_griffin.generation.generate import generate, stream

BACKEND = keras.backend.backend()
COMPILES = BACKEND in ("jax", "tensorflow")
PROMPT = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9]])


@pytest.mark.skipif(not COMPILES, reason="nothing is compiled on this backend")
def test_nothing_is_compiled_again_while_the_prompt_stays_in_its_bucket(fake):
    generate(fake, PROMPT, 3)
    assert fake.runs == 2, "one reading of the prompt and one step"
    generate(fake, PROMPT[:, :4], 7, sampler=TopK(3), return_state=True)
    generate(fake, [[1, 2, 3, 4], [5], [6, 7]], 1)
    assert fake.runs == 2
    generate(fake, np.ones((3, 6), "int32"), 2)
    assert fake.runs == 3, "a longer prompt is read by another function, and the step is the same"
    generate(fake, PROMPT[:, :1], 2)
    assert fake.runs == 3, "a prompt of one token needs the step alone"


def test_new_weights_take_effect(fake):
    first = generate(fake, PROMPT, 5)
    for variable in fake.variables:
        variable.assign(-2 * ops.flip(variable.value, axis=0))
    assert np.any(generate(fake, PROMPT, 5) != first)
    np.testing.assert_array_equal(generate(fake, PROMPT, 5), generate(copy.copy(fake), PROMPT, 5))


def test_new_variables_take_effect(fake):
    """As `quantize` and `enable_lora` make them."""
    first = generate(fake, PROMPT, 5)
    fake.embedding = keras.Variable(-2 * ops.flip(fake.embedding.value, axis=0))
    fake.variables = [fake.embedding, fake.unembedding]
    assert np.any(generate(fake, PROMPT, 5) != first)
    np.testing.assert_array_equal(generate(fake, PROMPT, 5), generate(copy.copy(fake), PROMPT, 5))


def test_a_model_is_let_go(make_model):
    model = make_model()
    generate(model, PROMPT, 2)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_a_stream_keeps_its_model(fake):
    expected = generate(fake, PROMPT, 3)[:, 5:].T
    np.testing.assert_array_equal(list(stream(copy.copy(fake), PROMPT, 3)), expected)


def test_a_model_that_has_generated_is_saved_and_copied(griffin, tmp_path):
    expected = generate(griffin, PROMPT, 4)
    griffin.save(tmp_path / "griffin.keras")
    for twin in (keras.saving.load_model(tmp_path / "griffin.keras"), copy.deepcopy(griffin)):
        np.testing.assert_array_equal(generate(twin, PROMPT, 4), expected)


@pytest.mark.skipif(BACKEND != "jax", reason="buffers are given away on JAX alone")
def test_a_step_takes_the_buffers_of_its_state(fake):
    state = fake.initial_state(3)
    model_functions(fake).step(PROMPT[:, :1], np.ones((3, 1), bool), state)
    assert all(leaf.is_deleted() for leaf in state)


@pytest.mark.skipif(BACKEND != "torch", reason="gradients are recorded unasked on PyTorch alone")
def test_no_gradient_is_recorded_and_training_may_go_on_from_the_state(fake):
    _, state = generate(fake, PROMPT, 2, return_state=True)
    assert not state.hidden.requires_grad
    logits, _ = fake.advance(ops.convert_to_tensor(PROMPT), state)
    logits.sum().backward()
    assert fake.embedding.value.grad is not None


@pytest.mark.parametrize("sampler", [Greedy(), Temperature(0.5), TopK(5), TopP(0.7)], ids=repr)
def test_a_sampler_as_it_runs_chooses_what_the_sampler_chooses(sampler):
    generator = np.random.default_rng(0)
    logits = ops.convert_to_tensor(generator.normal(scale=3, size=(500, 50)).astype("float32"))
    uniform = ops.convert_to_tensor(generator.random(500, dtype="float32"))
    as_it_runs = ops.convert_to_numpy(sampler_function(sampler)(logits, uniform))
    np.testing.assert_array_equal(as_it_runs, ops.convert_to_numpy(sampler(logits, uniform)))
    assert sampler_function(sampler) is sampler_function(copy.copy(sampler))
