"""Every mixer and unit as models to export, and their outputs in float64."""

import contextlib
import functools

import keras
import numpy as np
import pytest

from keras_griffin.export import FORMATS
from keras_griffin.layers import UNITS
from keras_griffin.mixers import mixer_names
from keras_griffin.models import SequenceEncoder
from tests.export.comparison import TOLERANCE, assert_same_numbers, with_reset

#: The quarters of the mixers, the units, and the mixers whose states grow, of which each length is compiled anew.
PARTS = (0, 1, 2, 3, "units", "growing")
GROWING = ("global_mqa", "sparse_mqa")
OPTIONS = {"sparse_mqa": {"stride": 4}, "hyena": {"max_length": 20}}
#: As many steps as a call of each kind of program reads of a row of 100.
WHATS = {"step": None, "chunk": 5, "sequence": None}


def every_program(format: str) -> list:
    """Parameters `part` and `what` of a format's tests: for each part one kind in turn is not exhaustive."""
    place = sorted(FORMATS).index(format)
    return [
        pytest.param(part, what, marks=() if (place + turn) % 3 == kind else pytest.mark.exhaustive)
        for turn, part in enumerate(PARTS)
        for kind, what in enumerate(WHATS)
    ]


def names_in(part) -> list[str]:
    """The mixers or units of one of `PARTS`."""
    if part == "units":
        return list(UNITS)
    return list(GROWING) if part == "growing" else [x for x in sorted(mixer_names()) if x not in GROWING][part::4]


def model_of(names: tuple[str, ...], is_units: bool = False, dtype: str = "float32") -> keras.Model:
    """Mixers in encoders, or units, beside one another, each with an output of its own."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 4), name="inputs", dtype=dtype)
    sizes = {"num_layers": 1, "mlp_width": 4, "num_heads": 2, "window": 5, "dtype": dtype}

    def layer(name):
        if is_units:
            return UNITS[name](return_sequences=True, name=name, dtype=dtype)
        return SequenceEncoder(
            8, block_pattern=(name,), mixer_options={name: OPTIONS.get(name, {})}, name=name, **sizes
        )

    return keras.Model(inputs, [layer(name)(inputs) for name in names])


class Subject:
    """The layers of one of `PARTS`, but those left out, as a model and as its twin in float64."""

    def __init__(self, part, without: tuple[str, ...] = ()):
        names = tuple(name for name in names_in(part) if name not in without)
        self.model = model_of(names, part == "units")
        with double_precision():
            self.twin = model_of(names, part == "units", "float64")
            self.twin.set_weights(self.model.get_weights())
        self.known = {}

    def expected(self, model, rows, cut):
        """Each output in float64, and how far from it a program's may be.

        That is `TOLERANCE` of its largest number, or four times the layer's own error in float32 where that is more: a
        norm magnifies the rounding of small numbers.
        """
        key = *rows[0].shape, cut
        if key not in self.known:
            with double_precision(), uncompiled():
                exact = with_reset(self.twin, [x.astype("float64") for x in rows], cut)
            with uncompiled():
                own = with_reset(model, rows, cut)
            self.known[key] = [(x, self.bound(x, y)) for x, y in zip(exact, own, strict=True)]
        return self.known[key]

    @staticmethod
    def bound(exact, own):
        return max(TOLERANCE * max(1.0, np.abs(exact).max()), 4 * np.abs(own - exact).max())


subject = functools.cache(Subject)


def double_precision():
    """JAX has float64 only inside such a block."""
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def uncompiled():
    """TensorFlow's XLA would compile each recurrence for each length."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    from keras_griffin.backends.tensorflow_backend import exporting

    return exporting()


def assert_layers(written, part, what: str, without: tuple[str, ...] = ()) -> None:
    """Compare with the layers what `written(model, what=, chunk=)` writes and opens: three rows of 100 steps."""
    # Others, and one row, are compared with a few models. Each costs a compilation on JAX.
    sizes = [(3, 12 if part == "growing" else 100)]
    one, chunk = subject(part, without), WHATS[what]
    assert_same_numbers(written(one.model, what=what, chunk=chunk), one.model, what, chunk, one.expected, sizes)
