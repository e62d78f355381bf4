"""Compiles what runs repeatedly, for the active backend."""
