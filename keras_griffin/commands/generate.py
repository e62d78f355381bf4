"""The command `generate`; its description and options are in `options/generate.py`."""

import argparse

from keras_griffin.commands.errors import INTERRUPTED, refusals
from keras_griffin.commands.kept_programs import keep_programs
from keras_griffin.commands.kernels import requests, tell_unused
from keras_griffin.commands.load_model import load_text_model
from keras_griffin.commands.terminal import show, shown
from keras_griffin.generation import Greedy, TopP
from keras_griffin.models import LanguageModel
from keras_griffin.ops.implementation import recorded_choices


def run(arguments: argparse.Namespace) -> int:
    """Load the model and print the prompt with its continuation."""
    keep_programs("generate")
    asked = requests()
    model = load_text_model("generate", arguments.model, arguments.dtype, adapter=arguments.adapter)
    with refusals(), recorded_choices() as choices:
        if arguments.stream:
            code = stream_text(model, arguments)
        else:
            code = 0
            print(continue_text(model, arguments.prompt, arguments.tokens, arguments))
    tell_unused(asked, choices)
    return code


def continue_text(model: LanguageModel, prompt: str, num_tokens: int, arguments: argparse.Namespace) -> str:
    """The prompt and its continuation, ready to print.

    Args:
        model: with a tokenizer.
        prompt: if empty, the model starts after its start token, a model of bytes after a line break.
        num_tokens: at most this many are generated.
        arguments: with `temperature`, `top_p` and `seed`.

    Raises:
        ValueError: the tokenizer does not accept the prompt.
    """
    return shown(model.generate(prompt, num_tokens, sampler=make_sampler(arguments), seed=arguments.seed))


def stream_text(model: LanguageModel, arguments: argparse.Namespace) -> int:
    """Print the text of `continue_text` as it is generated, until its end or Ctrl-C; return the exit code."""
    try:
        stream = model.stream(arguments.prompt, arguments.tokens, sampler=make_sampler(arguments), seed=arguments.seed)
        show(arguments.prompt)
        for piece in stream:
            show(piece)
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    print()
    return 0


def make_sampler(arguments: argparse.Namespace) -> Greedy | TopP:
    """The sampler that the options describe."""
    return TopP(arguments.top_p, arguments.temperature) if arguments.temperature > 0 else Greedy()
