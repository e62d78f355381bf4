"""Monitor the numerics of a model in training."""
