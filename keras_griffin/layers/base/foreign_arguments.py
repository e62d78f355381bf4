"""Arguments and states of `keras.layers.LSTM` that a layer in its place does not take."""

import inspect

import keras

from keras_griffin.checks import COUNT
from keras_griffin.names import did_you_mean, nearest
from keras_griffin.ops.shared.arguments import as_tensor, shape_fits
from keras_griffin.shapes import Tensor


def reject_foreign_arguments(cls: type, positional: tuple, options: dict) -> None:
    """Raise for positional arguments that a class does not take, an LSTM's arguments, and misspelt ones."""
    takes_names_alone = all(
        p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in inspect.signature(cls).parameters.values()
    )
    own = arguments_of(cls)
    given = positional if takes_names_alone else ()
    if "units" in options and "units" not in own:
        given = (options["units"], *given)
    if given:
        units = repr(given[0]) if COUNT.holds(given[0]) else "units"
        raise ValueError(
            f"{cls.__name__} has no units: it keeps its input's width; put Dense({units}) before it. "
            f"Got {', '.join(map(repr, given))}."
        )
    foreign = sorted((of_lstm() - own) & options.keys())
    if foreign:
        raise ValueError(
            f"{cls.__name__}: an LSTM's activations, initializers, regularizers, constraints, biases, dropout and "
            "unroll must be left out; put Dropout before it. "
            f"Got {', '.join(f'{name}={options[name]!r}' for name in foreign)}."
        )
    reject_misspelt(cls, own, options)


def arguments_of(cls: type) -> set[str]:
    """The names of all arguments that a layer's constructor takes."""
    # A subclass passes its bases' arguments on by `**kwargs`.
    constructors = [vars(kind)["__init__"] for kind in cls.__mro__ if "__init__" in vars(kind)]
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters}


def of_lstm() -> set[str]:
    """The names of the arguments of Keras's LSTM and GRU that not every layer has."""
    of_both = {name for layer in (keras.layers.LSTM, keras.layers.GRU) for name in inspect.signature(layer).parameters}
    return of_both - inspect.signature(keras.layers.Layer.__init__).parameters.keys()


def reject_misspelt(cls: type, known: set[str], options: dict) -> None:
    """Raise for a name that is none of the `known` ones but near one."""
    misspelt = {name: value for name, value in options.items() if name not in known and nearest(name, known)}
    if misspelt:
        # In the words of Keras, which raises for the others.
        hint = did_you_mean(next(iter(misspelt)), known)
        raise ValueError(f"Unrecognized keyword arguments passed to {cls.__name__}: {misspelt}{hint}")


def checked_state(name: str, initial_state, shapes: dict[str, tuple]) -> list[Tensor]:
    """The parts of an initial state, given as a list or alone, of the layer `name`; raises unless they fit `shapes`."""
    parts = list(initial_state) if isinstance(initial_state, list | tuple) else [initial_state]
    if len(parts) != len(shapes):
        got = f"a {type(initial_state).__name__} of {len(parts)}" if isinstance(initial_state, list | tuple) else "one"
        alone = f"{name}: initial_state must be h, (B, R), or a list of h alone: there is no c."
        several = f"{name}: initial_state must be a list of {' and '.join(shapes)}."
        raise ValueError(f"{alone if len(shapes) == 1 else several} Got {got}.")
    tensors = [as_tensor(part) for part in parts]
    for (part, shape), tensor in zip(shapes.items(), tensors, strict=True):
        if not shape_fits(tensor, shape):
            subject = "initial_state" if len(shapes) == 1 else f"{part} of initial_state"
            letters = " (B, R) =" if len(shapes) == 1 else ""
            raise ValueError(f"{name}: {subject} must have shape{letters} {shape}. Got {tuple(tensor.shape)}.")
    return tensors
