import copy
import functools
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.generation import Greedy, Temperature, TopK, TopP
from keras_griffin.generation.compilers.compile import compiles
from keras_griffin.generation.generate import generate
from keras_griffin.generation.loop import decode
from keras_griffin.models import GriffinConfig

BACKEND = keras.backend.backend()
PROMPT = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9]])


@pytest.mark.skipif(not compiles(), reason="nothing is compiled on this backend")
def test_nothing_is_compiled_again_while_the_prompt_stays_in_its_bucket(fake):
    generate(fake, PROMPT, 3)
    assert fake.runs == 2, "one reading of the prompt and one loop"
    generate(fake, PROMPT[:, :4], 7, return_state=True)
    assert fake.runs == 3, "a prompt of four tokens has a bucket of its own"
    generate(fake, PROMPT, 200)
    generate(fake, [[1, 2, 3, 4, 5], [5], [6, 7]], 1)
    generate(fake, np.ones((3, 8), "int32"), 2)
    assert fake.runs == 3
    generate(fake, PROMPT, 3, sampler=TopK(3))
    generate(fake, PROMPT, 9, sampler=TopK(3), stop_ids=[])
    assert fake.runs == 4, "another sampler is another loop"
    generate(fake, PROMPT, 3, sampler=TopK(3), stop_ids=[3])
    generate(fake, PROMPT, 9, sampler=TopK(3), stop_ids=[5])
    assert fake.runs == 5, "and so is one that looks for a stop id"


@pytest.mark.parametrize("new_variables", [False, True])
def test_new_weights_take_effect(fake, new_variables):
    """As `fit` assigns them, and as `quantize` and `enable_lora` make new ones."""
    first = generate(fake, PROMPT, 5)
    if new_variables:
        fake.embedding = keras.Variable(-2 * ops.flip(fake.embedding.value, axis=0))
        fake.variables = [fake.embedding, fake.unembedding]
    else:
        for variable in fake.variables:
            variable.assign(-2 * ops.flip(variable.value, axis=0))
    assert np.any(generate(fake, PROMPT, 5) != first)
    np.testing.assert_array_equal(generate(fake, PROMPT, 5), generate(copy.copy(fake), PROMPT, 5))


def test_a_model_is_let_go(make_model):
    model = make_model()
    generate(model, PROMPT, 2)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_a_model_that_has_generated_is_saved_and_copied(griffin, tmp_path):
    expected = generate(griffin, PROMPT, 4)
    griffin.save(tmp_path / "griffin.keras")
    for twin in (keras.saving.load_model(tmp_path / "griffin.keras"), copy.deepcopy(griffin)):
        np.testing.assert_array_equal(generate(twin, PROMPT, 4), expected)


@pytest.mark.skipif(BACKEND != "jax", reason="buffers are given away on JAX alone")
def test_the_loop_takes_the_buffers_of_its_state(fake):
    state = fake.initial_state(3)
    decode(fake, Greedy(), state, np.ones(3, bool), np.zeros((2, 3), "float32"), 2, np.zeros(0, "int32"))
    assert all(leaf.is_deleted() for leaf in state)


@pytest.mark.skipif(BACKEND != "torch", reason="gradients are recorded unasked on PyTorch alone")
def test_no_gradient_is_recorded_and_training_may_go_on_from_the_state(fake):
    _, state = generate(fake, PROMPT, 2, return_state=True)
    assert not state.last.requires_grad
    logits, _ = fake.advance(ops.convert_to_tensor(PROMPT), state)
    logits.sum().backward()
    assert fake.embedding.value.grad is not None


@pytest.mark.parametrize("sampler", [Greedy(), Temperature(0.5), TopK(5), TopP(0.7)], ids=repr)
def test_the_loop_chooses_what_the_sampler_chooses(fake, sampler):
    generator = np.random.default_rng(0)
    uniform = generator.random((6, 3), dtype="float32")
    made, state, _, _ = decode(fake, sampler, fake.initial_state(3), np.ones(3, bool), uniform, 6, np.zeros(0, "int32"))
    twin, state = copy.copy(fake), fake.initial_state(3)
    for step, numbers in enumerate(uniform):
        ids = ops.convert_to_numpy(sampler(twin.logits(state.last), ops.convert_to_tensor(numbers)))
        np.testing.assert_array_equal(made[:, step], ids)
        _, state = twin.advance(ids[:, None], state)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch alone records what is called often")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # PyTorch's own.
@pytest.mark.slow
def test_what_is_recorded_and_compiled_gives_the_same(fake, monkeypatch):
    from keras_griffin.generation.compilers import torch_compile

    tokens = [[3, 1, 4], [1], [5, 9]]
    expected = generate(fake, tokens, 12, sampler=TopP(0.9), seed=1, stop_ids=[2])
    monkeypatch.setattr(torch_compile, "RECORD_AFTER", 2)
    monkeypatch.setattr(torch_compile, "COMPILE_AFTER", 5)
    recorded = copy.copy(fake)
    recorded.runs = 0
    for made, whole in zip(
        generate(recorded, tokens, 12, sampler=TopP(0.9), seed=1, stop_ids=[2]), expected, strict=True
    ):
        np.testing.assert_array_equal(made, whole)
    assert recorded.runs == 5, "the prompt; two steps in Python, one more to be recorded, and one to be compiled"
    # A prompt is never recorded: it runs in Python however often it is read.
    for _ in range(4):
        recorded.runs = 0
        generate(recorded, [[3, 1, 4, 1, 5]], 0)
        assert recorded.runs == 1
    # What is recorded reads the weights as they are.
    for variable in fake.variables:
        variable.assign(-2 * ops.flip(variable.value, axis=0))
    changed = generate(copy.copy(fake), tokens, 12)
    for made, whole in zip(generate(recorded, tokens, 12), changed, strict=True):
        np.testing.assert_array_equal(made, whole)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch alone records what is called often")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # PyTorch's own.
def test_what_is_compiled_takes_any_strides_and_dtypes(fake, monkeypatch):
    import torch

    from keras_griffin.generation.compilers import torch_compile

    monkeypatch.setattr(torch_compile, "RECORD_AFTER", 1)
    monkeypatch.setattr(torch_compile, "COMPILE_AFTER", 3)
    run = torch_compile.record_for_model(lambda model, x, y: (x.T + 1, x * y), fake)
    x = torch.arange(9.0).reshape(3, 3)
    for call in range(14):
        x = x.T if call % 2 else x
        expected = x.numpy().T + 1, x.numpy() ** 2
        x, square = run(x, x.double() if call % 4 < 2 else x)
        np.testing.assert_array_equal(x, expected[0])
        np.testing.assert_array_equal(square, expected[1])


@pytest.mark.skipif(BACKEND != "jax", reason="it is XLA that would make the copies")
def test_no_float32_copy_of_bfloat16_weights_is_made():
    import jax

    from keras_griffin.generation.compilers.jax_compile import compile_for_model
    from keras_griffin.generation.loop import _decode
    from keras_griffin.models import Griffin

    config = GriffinConfig(vocabulary_size=4096, width=256, num_layers=3, num_heads=2, window=4)
    model = Griffin(config, dtype="bfloat16")
    run = compile_for_model(functools.partial(_decode, sampler=Greedy()), model)
    (compiled,) = [cell.cell_contents for cell in run.__closure__ if hasattr(cell.cell_contents, "lower")]
    arguments = np.ones(1, bool), np.zeros((8, 1), "float32"), np.int32(8), np.zeros(0, "int32")
    values = [variable.value for variable in model.variables]
    memory = compiled.lower(values, model.initial_state(1), *arguments).compile().memory_analysis()
    weights = sum(value.nbytes for value in jax.tree.leaves(values))
    assert memory.temp_size_in_bytes < weights / 4


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone goes without XLA")
def test_bfloat16_on_a_cpu_goes_without_xla(fake):
    from keras_griffin.generation.compilers.tensorflow_compile import _pays_with_xla
    from keras_griffin.models import Griffin

    assert _pays_with_xla(fake)
    config = GriffinConfig(vocabulary_size=16, width=16, num_layers=3, num_heads=2, window=4)
    model = Griffin(config, dtype="bfloat16")
    assert not _pays_with_xla(model)
    whole = generate(model, [[1, 2, 3]], 9)[0]
    first, state = generate(model, [[1, 2, 3]], 4, return_state=True)
    np.testing.assert_array_equal(whole, np.concatenate([first[0], generate(model, [[]], 5, state=state)[0]]))
