"""Batches of texts and documents for `fit`, and token files."""
