"""The command `generate`; its description and options are in `options/generate.py`."""

import argparse
from pathlib import Path

from keras_griffin.commands.errors import INTERRUPTED, refusals
from keras_griffin.commands.kept_programs import keep_programs
from keras_griffin.commands.kernels import requests, tell_unused
from keras_griffin.commands.load_model import load_text_model
from keras_griffin.commands.terminal import show, shown
from keras_griffin.commands.train_resume import MODEL, PROMPT, holds_run
from keras_griffin.generation import Greedy, TopP
from keras_griffin.models import LanguageModel
from keras_griffin.ops.implementation import recorded_choices


def run(arguments: argparse.Namespace) -> int:
    """Load the model and print the prompt with its continuation."""
    keep_programs("generate")
    asked = requests()
    model = load_text_model("generate", arguments.model, arguments.dtype, adapter=arguments.adapter)
    if arguments.prompt is None:
        arguments.prompt = prompt_of_run(arguments.model)
    with refusals(), recorded_choices() as choices:
        if arguments.stream:
            code = stream_text(model, arguments)
        else:
            code = 0
            print(continue_text(model, arguments.prompt, arguments.tokens, arguments))
    tell_unused(asked, choices)
    return code


def prompt_of_run(name: str) -> str:
    """What the samples of a run's model continue; empty for other models."""
    path = Path(name)
    folder = path if path.is_dir() else path.parent
    if not holds_run(folder) or path not in (folder, folder / MODEL) or not (folder / PROMPT).is_file():
        return ""
    return (folder / PROMPT).read_bytes().decode("utf-8", "surrogateescape")


def continue_text(model: LanguageModel, prompt: str, num_tokens: int, arguments: argparse.Namespace) -> str:
    """The prompt and its continuation, ready to print.

    Args:
        model: with a tokenizer.
        prompt: if empty, the model starts after its start token, or after a line break if it has none.
        num_tokens: at most this many are generated.
        arguments: with `temperature`, `top_p` and `seed`.

    Raises:
        ValueError: the tokenizer does not accept the prompt.
    """
    return shown(
        model.generate(_started(model, prompt), num_tokens, sampler=make_sampler(arguments), seed=arguments.seed)
    )


def stream_text(model: LanguageModel, arguments: argparse.Namespace) -> int:
    """Print the text of `continue_text` as it is generated, until its end or Ctrl-C; return the exit code."""
    prompt = _started(model, arguments.prompt)
    try:
        stream = model.stream(prompt, arguments.tokens, sampler=make_sampler(arguments), seed=arguments.seed)
        show(prompt)
        for piece in stream:
            show(piece)
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    print()
    return 0


def _started(model, prompt: str) -> str:
    """The prompt, or a line break if it is empty and the model has no start token."""
    return prompt or ("" if model.tokenizer.start_id is not None else "\n")


def make_sampler(arguments: argparse.Namespace) -> Greedy | TopP:
    """The sampler that the options describe."""
    return TopP(arguments.top_p, arguments.temperature) if arguments.temperature > 0 else Greedy()
