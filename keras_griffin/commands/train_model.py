"""Build, compile and evaluate the model of `train`."""

import argparse
import sys

from keras_griffin.commands.arguments import parsed_option
from keras_griffin.commands.train_text import TokenText
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.training import AdamW, BitsPerByte, HeldOutWindows

FAMILIES = {"griffin": Griffin, "hawk": Hawk, "mqa": MQATransformer}


def build_model(arguments: argparse.Namespace, tokenizer) -> LanguageModel:
    """The model that the options describe, with the vocabulary of a tokenizer."""
    pattern = {} if arguments.pattern is None else {"block_pattern": arguments.pattern}
    config = GriffinConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        width=arguments.width,
        num_layers=arguments.layers,
        num_heads=arguments.heads,
        window=arguments.window,
        mixer_options=_mixer_options(arguments.option or []),
        **pattern,
    )
    dtype = "mixed_bfloat16" if arguments.mixed_precision else "float32"
    kind = FAMILIES[arguments.model] if arguments.pattern is None else LanguageModel
    return kind(config, dtype=dtype, tokenizer=tokenizer)


def family(arguments: argparse.Namespace) -> str:
    """The family's name, or the pattern's, for reports and folders."""
    return arguments.model if arguments.pattern is None else "-".join(arguments.pattern)


def _mixer_options(options) -> dict:
    """The options as `GriffinConfig` takes them."""
    nested: dict = {}
    for (*path, name), value in map(parsed_option, options):
        inside = nested
        for place in path:
            inside = inside.setdefault(place, {})
        inside[name] = value
    return nested


def compile_for_training(model: LanguageModel, learning_rate, text: TokenText) -> None:
    """Compile for next-token prediction; the metric, bits per byte, is comparable between tokenizers."""
    written = {} if text.is_bytes else {"token_bytes": text.token_bytes}
    model.compile(
        optimizer=AdamW(learning_rate),
        loss=model.loss,
        # A longer name would wrap the progress bar at 80 columns.
        weighted_metrics=[BitsPerByte(name="bits", **written)],
    )


def evaluate(model: LanguageModel, held_out: HeldOutWindows) -> float:
    """The bits per byte over the windows."""
    verbose = 1 if sys.stdout.isatty() else 0
    return model.evaluate(held_out, verbose=verbose, return_dict=True)["bits"]
