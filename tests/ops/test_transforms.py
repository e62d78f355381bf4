"""PyTorch's transforms of the operators, compared with finite differences and with loops over separate calls."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own transforms", allow_module_level=True)

import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, jacfwd, jacrev, jvp, vjp, vmap

from keras_griffin.layers import RGLRU
from keras_griffin.mixers import RecurrentBlock
from keras_griffin.ops import (
    delta_rule,
    explain,
    gated_linear_attention,
    global_attention,
    linear_cross_entropy,
    linear_scan,
    local_attention,
    log_scan,
    rg_lru,
    selective_scan,
    sparse_attention,
    state_space,
    use_implementation,
)
from keras_griffin.ops.block_product import block_product
from keras_griffin.ops.block_product.torch_blocks import FEWEST_ROWS
from keras_griffin.testing.closeness import assert_close

# PyTorch's own, where it prepares forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

B, T, D, N = 2, 5, 3, 2
STEPS, STATE, CHANNELS, WEIGHTS, HEADS = (B, T, D), (B, D), (D,), (B, T, N), (B, T, 1, N)
COPIES = 3


class Call(NamedTuple):
    """A call of an op as a function of its floating tensors and of named marks."""

    function: Callable
    shapes: tuple
    #: Which tensors have no rows.
    parameters: tuple = ()
    marks: tuple = ("reset", "mask")


def complex_linear_scan(a, b, x, y, h, k, **marks):
    states, final_state = linear_scan((a, b), (x, y), (h, k), reverse=True, **marks)
    return *states, *final_state


def complex_rg_lru(x, y, i, r, decay, phase, h, k, **marks):
    states, final_state = rg_lru((x, y), i, r, decay, (h, k), phase=phase, reverse=True, **marks)
    return *states, *final_state


def attention(query, key, value, **marks):
    return (local_attention(query, key, value, 2, **marks),)


def attention_to_all(query, key, value, **marks):
    return (global_attention(query, key, value, **marks),)


def attention_to_a_pattern(query, key, value, **marks):
    return (sparse_attention(query, key, value, 2, **marks),)


def product(rows, kernel, bias):
    return (block_product(rows, kernel, bias),)


def cross_entropy(inputs, table):
    return (linear_cross_entropy(inputs, table, torch.arange(B * T).reshape(B, T) % 4, soft_cap=3.0),)


CALLS = {
    "linear_scan": Call(linear_scan, (STEPS, STEPS, STATE)),
    "complex linear_scan": Call(complex_linear_scan, (STEPS, STEPS, STEPS, STEPS, STATE, STATE)),
    "log_scan": Call(log_scan, (STEPS, STEPS, STATE)),
    "rg_lru": Call(rg_lru, (STEPS, STEPS, STEPS, CHANNELS, STATE), (3,)),
    "complex rg_lru": Call(complex_rg_lru, (STEPS, STEPS, STEPS, STEPS, CHANNELS, CHANNELS, STATE, STATE), (4, 5)),
    "selective_scan": Call(selective_scan, (STEPS, STEPS, (D, N), WEIGHTS, WEIGHTS, (B, D, N)), (2,)),
    "state_space": Call(state_space, (STEPS, (D, N), (D, N), (D, N), (B, D, N)), (1, 2, 3)),
    "dense state_space": Call(state_space, (STEPS, (D, N, N), (D, N), (D, N), (B, D, N)), (1, 2, 3)),
    "gated_linear_attention": Call(gated_linear_attention, (HEADS, HEADS, (B, T, 2, D), (B, T, 2), (B, 2, N, D))),
    "delta_rule": Call(delta_rule, (HEADS, HEADS, (B, T, 2, D), (B, T, 2), (B, T, 2), (B, 2, N, D))),
    "block_product": Call(product, ((FEWEST_ROWS + 1, 4), (2, 2, 3), (2, 3)), (1, 2), ()),
    "linear_cross_entropy": Call(cross_entropy, (STEPS, (4, D)), (1,), ()),
    "local_attention": Call(attention, (HEADS, HEADS, HEADS), (), ("mask",)),
    "global_attention": Call(attention_to_all, (HEADS, HEADS, HEADS), (), ("mask",)),
    "sparse_attention": Call(attention_to_a_pattern, (HEADS, HEADS, HEADS), (), ("mask",)),
}
#: Of the tensors; `triton_*.py` have another.
DTYPE = torch.float64


def draw(name, seed=0):
    """The tensors and marks of a call; the second step of the first row is masked, and not finite."""
    generator, call = torch.Generator().manual_seed(seed), CALLS[name]
    tensors = [0.5 * torch.randn(*shape, generator=generator).to(DTYPE) for shape in call.shapes]
    shares = {"reset": 0.3, "mask": 0.7}
    marks = {mark: torch.rand(B, T, generator=generator) < shares[mark] for mark in call.marks}
    if marks:
        marks["mask"][0, 1] = False
        for x in tensors:
            if x.shape[:2] == (B, T):
                x[0, 1] = torch.nan
    return tensors, marks


def loss_of(name):
    """A scalar of every number that the op returns, and its gradient for every tensor."""

    def loss(tensors, marks):
        return sum(torch.sum(torch.sin(x)) for x in CALLS[name].function(*tensors, **marks))

    return loss


def gradients(loss, tensors, marks):
    """By PyTorch's automatic differentiation, without a transform."""
    tensors = [x.detach().requires_grad_() for x in tensors]
    return torch.autograd.grad(loss(tensors, marks), tensors)


@pytest.mark.parametrize("name", CALLS)
def test_derivatives_are_those_of_finite_differences(name):
    tensors, marks = draw(name)
    function = lambda *tensors: tuple(CALLS[name].function(*tensors, **marks))  # noqa: E731
    tensors = [x.requires_grad_() for x in tensors]
    gradcheck(function, tensors, fast_mode=True, check_forward_ad=True)
    gradgradcheck(function, tensors, fast_mode=True, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", CALLS)
def test_jacobians(name):
    (x, *others), marks = draw(name)
    function = lambda x: CALLS[name].function(x, *others, **marks)[0].flatten()[::5]  # noqa: E731
    x = x.requires_grad_()
    expected = torch.stack([torch.autograd.grad(y, x, retain_graph=True)[0] for y in function(x)]).numpy()
    for mode in (jacrev, jacfwd):
        assert_close(mode(function)(x.detach()), expected)


def inner_product(gradients, tangents):
    """The derivative along tangents, which are not finite where the gradients are zero."""
    pairs = zip(gradients, tangents, strict=True)
    return sum(torch.sum(torch.where(into == 0.0, 0.0, into * along)) for into, along in pairs)


def mapped(name, tensors_differ, marks_differ):
    """The arguments of several calls in one, along any axes, and those axes; None for an argument that all share."""
    draws = [draw(name, seed) for seed in range(COPIES)]
    marks = {mark: [marks[mark] for _, marks in draws] for mark in CALLS[name].marks}
    tensors, axes = [], []
    for i, versions in enumerate(zip(*(tensors for tensors, _ in draws), strict=True)):
        axes.append(i % (versions[0].ndim + 1) if tensors_differ(i) else None)
        tensors.append(versions[0] if axes[-1] is None else torch.stack(versions, axes[-1]))
    marks = {mark: torch.stack(x, 1) if marks_differ else x[0] for mark, x in marks.items()}
    return (tensors, marks), (axes, dict.fromkeys(marks, 1 if marks_differ else None))


def separate(arguments, axes, i):
    """The arguments of one of the calls."""
    (tensors, marks), (tensor_axes, mark_axes) = arguments, axes
    take = lambda x, axis: x if axis is None else x.select(axis, i)  # noqa: E731
    marks = {mark: take(x, mark_axes[mark]) for mark, x in marks.items()}
    return [take(x, axis) for x, axis in zip(tensors, tensor_axes, strict=True)], marks


DIFFERENT = {
    "everything": lambda parameters: (lambda i: True, True),
    "the last tensor and the marks": lambda parameters: (lambda i: i == len(parameters), True),
}


@pytest.mark.parametrize("different", DIFFERENT)
@pytest.mark.parametrize("name", CALLS)
def test_vmap_is_a_loop_over_calls(name, different):
    tensors_differ, marks_differ = DIFFERENT[different](CALLS[name].parameters)
    arguments, axes = mapped(name, tensors_differ, marks_differ)
    function, loss = CALLS[name].function, loss_of(name)
    results = vmap(lambda tensors, marks: tuple(function(*tensors, **marks)), axes)(*arguments)
    of_each = vmap(grad(loss), axes)(*arguments)
    of_all = gradients(lambda tensors, marks: vmap(loss, axes)(tensors, marks).sum(), *arguments)
    for i in range(COPIES):
        tensors, marks = separate(arguments, axes, i)
        for got, wanted in zip(results, function(*tensors, **marks), strict=True):
            assert_close(got[i], wanted.numpy())
        expected = gradients(loss, tensors, marks)
        for got, whole, wanted, axis in zip(of_each, of_all, expected, axes[0], strict=True):
            assert_close(got[i], wanted.numpy())
            if axis is not None:
                assert_close(whole.select(axis, i), wanted.numpy())


@pytest.mark.parametrize("name", ["linear_scan", "rg_lru"])
def test_tangents_of_a_past_that_is_not_finite_are_forgotten(name):
    (tensors, _), (along, _) = draw(name, 0), draw(name, 1)
    tensors[1 if name == "linear_scan" else 0][:, 1] = torch.inf
    reset = torch.arange(T).expand(B, T) == 3
    call = lambda *tensors: CALLS[name].function(*tensors, reset=reset)[0][:, 3:]  # noqa: E731
    values = tuple(x.nan_to_num(posinf=torch.inf) for x in tensors)
    states, tangents = jvp(call, values, tuple(x.nan_to_num() for x in along))
    assert torch.all(torch.isfinite(states)) and torch.all(torch.isfinite(tangents))


TRANSFORMS = {"grad": grad, "vmap": vmap, "jvp": lambda loss: lambda x: jvp(loss, (x,), (torch.cos(x),))[1]}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_compiled_transform_is_the_transform(transform):
    x, start = torch.randn(B, 1, T, D), torch.zeros(1, D)
    # A copy: in forward mode PyTorch's compiler fails at a slice of a view.
    sequences = x if transform == "vmap" else x[0].clone()
    transformed = TRANSFORMS[transform](lambda x: torch.sum(torch.sin(linear_scan(x, x, start)[0])))
    expected = transformed(sequences)
    assert_close(torch.compile(transformed, fullgraph=True, backend="aot_eager")(sequences), expected.numpy())


def check_second_derivative(name, implementation):
    """For kernels in an interpreter, which is slow: the derivative of the gradient is as by PyTorch's loop."""
    (tensors, marks), (along, _) = draw(name, 0), draw(name, 1)

    def product(implementation):
        with use_implementation(name.removeprefix("complex "), implementation):
            leaves = [x.detach().requires_grad_() for x in tensors]
            into = torch.autograd.grad(loss_of(name)(leaves, marks), leaves, create_graph=True)
            return torch.autograd.grad(inner_product(into, along), leaves)

    for got, wanted in zip(product(implementation), product("torch_loop"), strict=True):
        assert torch.any(wanted != 0.0)
        assert_close(got, wanted.numpy())


@pytest.mark.parametrize("name", CALLS)
def test_second_derivatives_in_every_order_of_modes(name):
    (tensors, marks), (along, _) = draw(name, 0), draw(name, 1)
    loss = lambda tensors: loss_of(name)(tensors, marks)  # noqa: E731
    slope = lambda tensors: jvp(loss, (tensors,), (along,))[1]  # noqa: E731
    (expected,) = vjp(grad(loss), tensors)[1](along)
    for products in (jvp(grad(loss), (tensors,), (along,))[1], grad(slope)(tensors)):
        for got, wanted in zip(products, expected, strict=True):
            assert torch.any(wanted != 0.0)
            assert_close(got, wanted.numpy())
    _, curvature = jvp(slope, (tensors,), (along,))
    assert_close(curvature, inner_product(expected, along).numpy())


def test_inside_a_level_of_forward_mode_backward_mode_and_tensors_without_tangents_are_as_ever():
    for name in CALLS:
        tensors, marks = draw(name)
        expected = gradients(loss_of(name), tensors, marks)
        with forward_ad.dual_level():
            for got, wanted in zip(gradients(loss_of(name), tensors, marks), expected, strict=True):
                assert_close(got, wanted.numpy())


@pytest.mark.parametrize("name", CALLS)
def test_a_graph_changes_no_gradient_also_of_one_tensor_alone(name):
    tensors, marks = draw(name)
    for i, expected in enumerate(gradients(loss_of(name), tensors, marks)):
        alone = [x.detach().requires_grad_(i == k) for k, x in enumerate(tensors)]
        (into,) = torch.autograd.grad(loss_of(name)(alone, marks), alone[i], create_graph=True)
        assert_close(into.detach(), expected.numpy())


@pytest.mark.parametrize("name", CALLS)
def test_a_backward_pass_may_be_transformed(name):
    tensors, marks = draw(name)
    tensors = [x.requires_grad_() for x in tensors]
    output = CALLS[name].function(*tensors, **marks)[0]
    weights = torch.stack([torch.sin(output.detach() + i) for i in range(COPIES)])
    pull_back = lambda weight: torch.autograd.grad(output, tensors[0], weight, retain_graph=True)[0]  # noqa: E731
    expected = torch.stack([pull_back(weight) for weight in weights])
    assert_close(vmap(pull_back)(weights), expected.numpy())
    # Linear, so the derivative is the function.
    assert_close(jvp(pull_back, (weights[0],), (weights[1],))[1], expected[1].numpy())


def test_a_requested_implementation_is_refused_inside_a_transform():
    x, found = torch.ones(B, T, D), []

    def scan(x):
        found.append(explain("linear_scan", tuple(x.shape)))
        return linear_scan(x, x)[0]

    vmap(scan)(x[None])
    (explanation,) = found
    assert explanation.chosen == "portable"
    assert str(explanation).splitlines()[0].endswith(", float32, inside a transform of torch.func or forward mode")
    reason = "can't be transformed by torch.func or differentiated in forward mode"
    reasons = {verdict.name: verdict.reason for verdict in explanation.verdicts}
    assert reasons["torch_loop"] == reasons["reference"] == reason
    with use_implementation("linear_scan", "torch_loop"):
        linear_scan(x, x)
        for transformed in (grad(lambda x: scan(x).sum()), lambda x: with_dual_tensors(scan, x)):
            with pytest.raises(ValueError, match=f"linear_scan: the requested implementation 'torch_loop' .* {reason}"):
                transformed(x)


def with_dual_tensors(function, x):
    with forward_ad.dual_level():
        return function(forward_ad.make_dual(x, torch.ones_like(x)))


@pytest.mark.parametrize("layer", [RGLRU(), RecurrentBlock(8)], ids=["RGLRU", "RecurrentBlock"])
def test_gradients_of_each_sequence_and_an_ensemble(layer):
    length, width = FEWEST_ROWS, 8
    generator = torch.Generator().manual_seed(0)
    layer.build((None, None, width))
    weights = [x.value.detach() for x in layer.trainable_variables]
    others = [x.value.detach() for x in layer.non_trainable_variables]
    inputs = torch.randn(COPIES, 1, length, width, generator=generator)
    masks = torch.rand(COPIES, 1, length, generator=generator) < 0.7

    def loss(weights, inputs, mask):
        outputs, _ = layer.stateless_call(weights, others, inputs, mask=mask)
        return torch.sum(torch.sin(outputs))

    ensemble = [torch.stack([x + 0.1 * i for i in range(COPIES)]) for x in weights]
    for axes, arguments in (((None, 0, 0), (weights, inputs, masks)), ((0, None, None), (ensemble, inputs[0], None))):
        results = vmap(grad(loss), axes)(*arguments)
        for i in range(COPIES):
            one = [weights, inputs[i], masks[i]] if axes[0] is None else [[x[i] for x in ensemble], inputs[0], None]
            tensors = [x.clone().requires_grad_() for x in one[0]]
            for got, wanted in zip(results, torch.autograd.grad(loss(tensors, *one[1:]), tensors), strict=True):
                assert_close(got[i], wanted.numpy())
    _, tangent = jvp(lambda inputs: loss(weights, inputs, masks[0]), (inputs[0],), (inputs[1],))
    assert_close(tangent, torch.sum(grad(loss, 1)(weights, inputs[0], masks[0]) * inputs[1]).numpy())
