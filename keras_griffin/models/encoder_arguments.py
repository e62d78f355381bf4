"""Arguments of LSTM and of mixers that a `SequenceEncoder` does not take, refused with their equivalents."""

import keras

from keras_griffin.layers.base.foreign_arguments import arguments_of, of_lstm, reject_misspelt
from keras_griffin.mixers import find_mixer, mixer_names

#: By the name of an LSTM's argument, the end of "must be ...".
EQUIVALENTS = {
    "units": "written as width",
    "return_state": "left out: advance(inputs, state) returns the outputs and the state",
    "go_backwards": "left out: bidirectional=True reads in both directions, without keras.layers.Bidirectional",
    "recurrent_dropout": "written as dropout",
    **dict.fromkeys(
        ("kernel_regularizer", "recurrent_regularizer", "bias_regularizer"),
        "left out: weight_decay of keras.optimizers.AdamW takes its place",
    ),
}


def reject_arguments_of_others(cls: type[keras.layers.Layer], options: dict) -> None:
    """Raise for arguments that an encoder does not take: an LSTM's, those of its mixers, and misspelt ones."""
    own = arguments_of(cls)
    for name, value in options.items():
        rule = None if name in own else _rule(name, value, options.get("block_pattern", ("recurrent",)))
        if rule is not None:
            raise ValueError(f"{cls.__name__}: {name} must be {rule}. Got {name}={value!r}.")
    reject_misspelt(cls, own, options)


def _rule(name, value, pattern) -> str | None:
    """The end of "must be ..." for an argument that is not the encoder's; None if it is nobody's."""
    if name == "return_sequences":
        return "left out: without a pool there is an output for each step" if value else 'written as pool="last"'
    if name in EQUIVALENTS:
        return EQUIVALENTS[name]
    kinds = [kind for kind in pattern if kind in mixer_names()] if isinstance(pattern, list | tuple) else []
    for kind in kinds:
        if name in find_mixer(kind)[0].argument_names():
            return f"written as mixer_options={dict([(kind, {name: value})])}"
    if name in of_lstm():
        return "left out, as an LSTM's activations, initializers, constraints, biases and unroll"
    return None
