"""AdamW's update at once, on PyTorch."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own update", allow_module_level=True)

import torch

from keras_griffin.models.training import torch_adamw
from keras_griffin.testing.closeness import assert_close
from keras_griffin.training import AdamW

#: Below, at and beyond what is updated together; `nu`, of an LRU, is scaled, and the vectors do not decay.
SHAPES = {"dense/kernel": (3, 7), "dense/bias": (5,), "large/kernel": (4, 13), "one/kernel": (1, 1), "lru/nu": (8,)}
DECAYING = {"dense/kernel", "large/kernel", "one/kernel"}
NUMBERS = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.25, "global_clipnorm": 2.0}
RATE, SCALE = 0.0625, 0.25


def variables_of(dtype="float32"):
    rng = np.random.default_rng(0)
    variables = []
    for path, shape in SHAPES.items():
        layer, name = path.split("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(rng.normal(size=shape), name=name, dtype=dtype))
    return variables


def gradients_of(update):
    """The norm of the second update's is below the limit, those of the others above."""
    rng = np.random.default_rng(10 + update)
    return [rng.normal(size=shape) * (0.1 if update == 1 else 1.0) for shape in SHAPES.values()]


def expected_after(updates, dtype):
    """The docstring's equations in float64."""
    weights = [variable.value.detach().double().numpy() for variable in variables_of(dtype)]
    firsts, seconds = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    for n in range(1, updates + 1):
        gradients = gradients_of(n - 1)
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        for i, path in enumerate(SHAPES):
            g = gradients[i] * min(1, NUMBERS["global_clipnorm"] / norm)
            firsts[i] += (1 - NUMBERS["beta_1"]) * (g - firsts[i])
            seconds[i] += (1 - NUMBERS["beta_2"]) * (g**2 - seconds[i])
            rate = RATE * (SCALE if path == "lru/nu" else 1)
            decay = NUMBERS["weight_decay"] if path in DECAYING else 0
            bias = np.sqrt(1 - NUMBERS["beta_2"] ** n) / (1 - NUMBERS["beta_1"] ** n)
            step = bias * firsts[i] / (np.sqrt(seconds[i]) + NUMBERS["epsilon"])
            weights[i] -= rate * (decay * weights[i] + step)
    return weights


def step_by_step(monkeypatch):
    monkeypatch.setattr(torch_adamw, "serves", lambda optimizer: False)


def in_cache(monkeypatch):
    monkeypatch.setattr(torch_adamw, "TOGETHER", 21)


def in_few_launches(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(torch_adamw, "_in_one_pass", torch_adamw._in_few_launches)


# Step by step Keras clips in float32.
WAYS = [(step_by_step, "float32")]
WAYS += [(way, dtype) for way in (in_cache, in_few_launches) for dtype in ("bfloat16", "float32", "float64")]


@pytest.mark.parametrize(("way", "dtype"), WAYS)
def test_against_numpy(monkeypatch, way, dtype):
    way(monkeypatch)
    variables, optimizer = variables_of(dtype), AdamW(RATE, dynamics_scale=SCALE, **NUMBERS)
    optimizer.build(variables)
    for update in range(3):
        gradients = [torch.tensor(g, dtype=getattr(torch, dtype)) for g in gradients_of(update)]
        given = [g.clone() for g in gradients]
        optimizer.apply(gradients, variables)
        assert all(torch.equal(g, before) for g, before in zip(gradients, given, strict=True))
    for variable, expected in zip(variables, expected_after(3, dtype), strict=True):
        assert_close(variable.value.detach().double().numpy(), expected, dtype)


@pytest.mark.parametrize("accumulation", [None, 2])
def test_it_serves_usual_training_and_is_not_asked_where_it_would_be_wrong(monkeypatch, accumulation):
    calls = []
    update = torch_adamw.update
    monkeypatch.setattr(torch_adamw, "update", lambda *given: calls.append(len(given[1])) or update(*given))
    # Without decay, because Keras's own decays the scope's tensors in place.
    options = {"weight_decay": 0.0, "gradient_accumulation_steps": accumulation}
    variables, optimizer = variables_of(), AdamW(RATE, **options)
    gradients = [torch.ones(shape) for shape in SHAPES.values()]
    for _ in range(2):
        optimizer.apply(gradients, variables)
    assert calls == [5] * (1 if accumulation else 2)
    # A scope's results are new tensors.
    before = [variable.value.detach().clone() for variable in variables]
    values = [variable.value for variable in variables]
    with torch.no_grad():
        for _ in range(accumulation or 1):
            new, _ = optimizer.stateless_apply([v.value for v in optimizer.variables], gradients, values)
    assert all(torch.equal(variable.value, old) for variable, old in zip(variables, before, strict=True))
    if accumulation is None:
        assert not any(torch.equal(tensor, old) for tensor, old in zip(new, before, strict=True))
    assert not torch_adamw.serves(AdamW(clipnorm=1.0, global_clipnorm=None))
    assert not torch_adamw.serves(AdamW(amsgrad=True))
    assert len(calls) == (1 if accumulation else 2)


@pytest.mark.parametrize("accumulation", [None, 2])
def test_a_dropped_batch_is_one_of_zeros_and_a_norm_is_computed_once(accumulation, monkeypatch):
    norms, global_norm = [], torch_adamw.global_norm
    monkeypatch.setattr(torch_adamw, "global_norm", lambda given: norms.append(len(given)) or global_norm(given))
    found = []
    for broken in (True, False):
        variables = variables_of()
        optimizer = AdamW(RATE, **NUMBERS, drop_nonfinite=True, gradient_accumulation_steps=accumulation)
        optimizer.build(variables)
        for update in range(4):
            gradients = [torch.as_tensor((update != 1) * g, dtype=torch.float32) for g in gradients_of(update)]
            if broken and update == 1:
                gradients[2][1, 5] = torch.nan
            optimizer.apply(gradients, variables)
        found.append([variable.value for variable in optimizer.variables + variables])
        assert optimizer.dropped == broken
    # All but the count.
    different = [not torch.equal(*pair) for pair in zip(*found, strict=True)]
    assert sum(different) == 1 and all(torch.isfinite(tensor).all() for tensor in found[0])
    # Where gradients are accumulated, that of each batch and that of each sum.
    assert len(norms) == 2 * (6 if accumulation else 4)
