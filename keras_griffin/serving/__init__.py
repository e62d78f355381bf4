"""A server of a language model."""
