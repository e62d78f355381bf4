"""Weights, presets and adapters in files."""
