"""What the experiments train: the families, and models that only one of them needs."""
