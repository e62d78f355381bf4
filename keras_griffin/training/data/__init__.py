"""Texts and documents as batches for `fit`, and token files."""
