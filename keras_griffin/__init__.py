"""Griffin and Hawk for Keras 3."""

from keras_griffin.backend import choose_backend

choose_backend()
