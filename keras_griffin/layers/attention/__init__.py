"""The bases of mixers that attend to keys."""
