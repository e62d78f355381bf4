"""Griffin and Hawk for Keras 3."""

from keras_griffin.backend import choose_backend

choose_backend()

from keras_griffin import generation, layers, mixers, models, ops, training

__all__ = ["generation", "layers", "mixers", "models", "ops", "training"]
__version__ = "0.1.0"
