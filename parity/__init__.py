"""keras_griffin beside the packages that the same checkpoints were made for."""
