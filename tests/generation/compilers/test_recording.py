"""The recording of a function of tensors, on PyTorch."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch alone records", allow_module_level=True)

import torch

from keras_griffin.generation.compilers.torch_recording import record

aten = torch.ops.aten


def examples(number=3):
    return [[torch.randn(3, 4), torch.randn(4)] for _ in range(number)]


def agrees(function):
    """Whether a recording of a function repeats it on other tensors."""
    first, *others = examples()
    with torch.no_grad():
        recorded = record(function, first)
        return all(
            torch.equal(one, other)
            for given in (first, *others)
            for one, other in zip(recorded(*given), function(*given), strict=True)
        )


def operations_of(recorded, given):
    """Those that a replay runs."""
    calls = []

    class Counted(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), options=None):
            calls.append(operation)
            return operation(*arguments, **(options or {}))

    with torch.no_grad(), Counted():
        recorded(*given)
    return calls


def test_views_and_changes_in_place():
    def function(x, y):
        z = x.clone()
        z.T[1:3].mul_(2.0)
        z[0] += y
        count = torch.zeros(4)
        count.index_add_(0, torch.tensor([1, 1, 3]), z[:, 0])
        return [z, z.T.reshape(2, 6), count, y.expand(3, 4)]

    assert agrees(function)


def test_constants_are_computed_once():
    def function(x, y):
        mask = torch.arange(4) < torch.full((1,), 2)
        return [torch.where(mask, x, y)]

    (given,) = examples(1)
    assert operations_of(record(function, given), given) == [aten.where.self]


def test_what_is_changed_returned_or_random_is_no_constant():
    def function(x, y):
        total = torch.zeros(4)
        part = total[1:]
        part.add_(y[1:])
        return [total, torch.ones(3), x]

    assert agrees(function)
    recorded = record(function, examples(1)[0])
    with torch.no_grad():
        _, ones, _ = recorded(*examples(1)[0])
        ones.zero_()
        assert recorded(*examples(1)[0])[1].tolist() == [1.0] * 3
        random = record(lambda x: [x + torch.rand(3)], [torch.zeros(3)])
        assert not torch.equal(random(torch.zeros(3))[0], random(torch.zeros(3))[0])


def test_views_of_complex_numbers_are_not_the_numbers():
    def function(x, y):
        z = torch.complex(x, x + y)
        return [
            torch.view_as_real(z),
            z.conj().resolve_conj(),
            torch.view_as_real(z.conj().resolve_conj()),
            z.conj() * z,
        ]

    assert agrees(function)


@pytest.mark.parametrize("of_the_weight", [lambda weight: weight, lambda weight: weight.T, lambda weight: weight + 1.0])
def test_weights_are_read_at_every_call(of_the_weight):
    weight = torch.nn.Parameter(torch.ones(4, 4))
    recorded = record(lambda x: [x @ of_the_weight(weight)], [torch.ones(1, 4)])
    with torch.no_grad():
        weight.copy_(torch.randn(4, 4))
        (made,) = recorded(torch.ones(1, 4))
        assert torch.equal(made, torch.ones(1, 4) @ of_the_weight(weight))
    assert not made.requires_grad


@pytest.mark.parametrize("of_a_weight", [True, False])
def test_shapes_that_change_in_place(of_a_weight):
    weight = torch.randn(3, 4)

    def function(x, y):
        view = (weight if of_a_weight else x + 1.0).view(2, 6).view(4, 3)
        product = view * 2.0
        view.t_()
        return [view + x, product]

    assert agrees(function)


def test_given_numbers_that_are_changed_begin_anew():
    def function(x, y):
        count = torch.tensor([1.0, 2.0, 3.0, 4.0])
        count += y
        return [count * 1.0]

    assert agrees(function)
