"""Continue a text with a model.

The model is one that `train` saved, or a folder that `save_to_preset` wrote, or a released
RecurrentGemma in a folder or on the Hugging Face Hub.
"""

import argparse

from keras_griffin.commands.arguments import non_negative_float, positive_int, seed, share
from keras_griffin.commands.errors import INTERRUPTED, refusals
from keras_griffin.commands.kernels import requests, tell_unused
from keras_griffin.commands.load_model import add_model_arguments, load_text_model
from keras_griffin.commands.terminal import show, shown
from keras_griffin.generation import Greedy, TopP
from keras_griffin.models import LanguageModel
from keras_griffin.ops.implementation import recorded_choices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    parser.add_argument("--prompt", default="def ", metavar="TEXT", help="what to continue (default: %(default)r)")
    parser.add_argument(
        "--tokens",
        "--bytes",
        type=positive_int,
        default=500,
        metavar="N",
        help="how much to write at most; for a model of bytes a token is one (default: %(default)s)",
    )
    parser.add_argument("--stream", action="store_true", help="print as it is written; Ctrl-C ends it")
    add_sampling_arguments(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another seed, another text (default: 0)")


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """How the next token is drawn; `train` and `chat` ask too."""
    parser.add_argument(
        "--temperature",
        type=non_negative_float,
        default=0.7,
        metavar="X",
        help="below 1 it keeps to what is likely, 0 takes the likeliest token always (default: %(default)s)",
    )
    parser.add_argument(
        "--top-p",
        type=share,
        default=0.95,
        metavar="P",
        help="draw among the likeliest tokens that together have this probability (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Load the model and print the prompt with its continuation."""
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
    """The prompt and what the model writes after it, as it is shown.

    Args:
        model: with a tokenizer.
        prompt: where it is empty, the model starts after its start token; one of bytes after a line break.
        num_tokens: how many it writes at most.
        arguments: with `temperature`, `top_p` and `seed`.

    Raises:
        ValueError: the prompt is nothing that the tokenizer takes.
    """
    return shown(model.generate(prompt, num_tokens, sampler=make_sampler(arguments), seed=arguments.seed))


def stream_text(model: LanguageModel, arguments: argparse.Namespace) -> int:
    """Print the text of `continue_text` as it is made, until its end or Ctrl-C; the exit code."""
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
    """What the options say."""
    return TopP(arguments.top_p, arguments.temperature) if arguments.temperature > 0 else Greedy()
