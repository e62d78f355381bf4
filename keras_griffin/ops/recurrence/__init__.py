"""What scans along time are made of: numbers, marks, the contract of an op, and one way to walk for each technique."""
