"""In programs that PyTorch exports, for any length: one `scan`."""

from keras_griffin.ops.recurrence.torch_exported import over_marked_steps, supports  # noqa: F401


def state_space(inputs, system, initial_state, marks):
    """The outputs and the last state; see the package."""
    dtype = initial_state.dtype
    system = type(system)(*(x.to(dtype) for x in system))
    multiplied = system.multiplied()

    def step(state, inputs):
        state = multiplied(state) + inputs[..., None] * system.input_weights
        return (system.output_weights * state).sum(-1), state

    return over_marked_steps(step, initial_state, (inputs.to(dtype),), marks)
