"""Synthetic tasks and text corpora: NumPy only."""
