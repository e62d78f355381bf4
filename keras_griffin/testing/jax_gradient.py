"""Value and gradient on JAX."""

import jax


def value_and_gradient(function, tensors):
    """The value of `function(*tensors)` and its gradient for each tensor, compiled."""
    gradient = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(tensors)))))
    return gradient(*tensors)
