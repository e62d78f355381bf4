"""Serve a language model to many clients at once, as OpenAI's API does, with the state exact at any token."""

from keras_griffin.serving.http.application import app

__all__ = ["app"]
__dir__ = __all__.copy
