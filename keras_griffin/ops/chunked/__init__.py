"""Shared by ops that run along time in chunks, by matrix products."""

from keras_griffin.ops.recurrence import prefix


def supports(facts) -> str | None:
    """Everything but float64 on NumPy, where Keras computes in float32, and free lengths in PyTorch's programs."""
    if facts.backend == "torch" and facts.is_exported and (facts.shape is None or facts.shape[1] is None):
        return "exports chunks of a known length alone"
    return prefix.supports(facts)
