"""What the experiments read, beside the tasks of the package."""
