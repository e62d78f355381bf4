"""On PyTorch: a loop along time over views of the arrays, many chunks of the sequence at once."""

from keras_griffin.ops.linear_scan.torch_operator import call, operators
from keras_griffin.ops.recurrence import torch_loop
from keras_griffin.ops.recurrence.marks import Marks, apply_marks, forgetting
from keras_griffin.ops.recurrence.torch_loop import as_components, as_number, empty_like, fill_


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def linear_scan(decay, inputs, initial_state, marks, reverse):
    """Every state and the last one; see the package."""
    # The operators handle resets themselves.
    decay, inputs = apply_marks(decay, inputs, Marks(None, marks.mask), initial_state[0].dtype)
    return call(_linear_scan, decay, inputs, initial_state, Marks(forgetting(marks), None), reverse)


def _scan(decay, inputs, initial_state, marks, reverse):
    a, x, state = _forgetful(decay, marks), as_number(inputs), as_number(initial_state)
    states = empty_like(x)
    torch_loop.scan_into(states, a, x, state, marks.reset, reverse)
    return as_components(states), as_components(states[:, 0 if reverse else -1].clone())


def _scan_gradient(decay, states, initial_state, marks, gradients, reverse):
    numbers = map(as_number, (states, initial_state, *gradients))
    results = torch_loop.scan_gradient(_forgetful(decay, marks), *numbers, marks.reset, reverse)
    return tuple(map(as_components, results))


def _forgetful(decay, marks):
    """The decays, but 0 where the past is forgotten."""
    number = as_number(decay)
    return number if marks.reset is None else fill_(number.clone(), marks.reset, 0.0)


_linear_scan, _gradient = operators("linear_scan", _scan, _scan_gradient)
