"""Shared by ops that run along time in chunks, by matrix products."""
