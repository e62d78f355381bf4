"""Continue a text with a model.

The model is one that train saved, a folder that save_to_preset wrote, or a released RecurrentGemma
or Mamba in a folder or on the Hugging Face Hub.
"""

import argparse
from pathlib import Path

from keras_griffin.commands.explain import requests_checked
from keras_griffin.commands.shared.errors import INTERRUPTED, refusals
from keras_griffin.commands.shared.options import add_model, add_number, add_sampling, positive_int, seed
from keras_griffin.commands.shared.terminal import show, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model(parser)
    text = "what to continue (default: that of the run that trained the model, or else nothing)"
    parser.add_argument("--prompt", metavar="TEXT", help=text)
    text = "maximum number of tokens; in a model of bytes, of bytes (default: %(default)s)"
    parser.add_argument("--tokens", "--bytes", type=positive_int, default=500, metavar="N", help=text)
    parser.add_argument("--stream", action="store_true", help="print text as it is generated; Ctrl-C stops it")
    add_sampling(parser)
    add_number(parser, "--seed", 0, "seed of the sampling", seed)


def run(arguments: argparse.Namespace) -> int:
    """Load the model and print the prompt with its continuation."""
    from keras_griffin.commands.shared.load import keep_programs, load_text_model

    keep_programs("generate")
    with refusals(), requests_checked():
        model = load_text_model("generate", arguments.model, arguments.dtype, adapter=arguments.adapter)
        if arguments.prompt is None:
            arguments.prompt = prompt_of_run(arguments.model)
        if arguments.stream:
            return stream_text(model, arguments)
        print(continue_text(model, arguments.prompt, arguments.tokens, arguments))
    return 0


def prompt_of_run(name: str) -> str:
    """The prompt of the samples of a run's model; empty for other models."""
    from keras_griffin.commands.shared.runs import MODEL, PROMPT, holds_run

    path = Path(name)
    folder = path if path.is_dir() else path.parent
    if not holds_run(folder) or path not in (folder, folder / MODEL) or not (folder / PROMPT).is_file():
        return ""
    return (folder / PROMPT).read_bytes().decode("utf-8", "surrogateescape")


def continue_text(model, prompt: str, num_tokens: int, arguments: argparse.Namespace) -> str:
    """The prompt and its continuation by at most `num_tokens`, ready to print."""
    prompt = _started(model, prompt)
    return shown(model.generate(prompt, num_tokens, sampler=make_sampler(arguments), seed=arguments.seed))


def stream_text(model, arguments: argparse.Namespace) -> int:
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


def make_sampler(arguments: argparse.Namespace):
    """The sampler that the options describe."""
    from keras_griffin.generation import Greedy, TopP

    return TopP(arguments.top_p, arguments.temperature) if arguments.temperature > 0 else Greedy()


def _started(model, prompt: str) -> str:
    """The prompt, or a line break if it is empty and the model has no start token."""
    return prompt or ("" if model.tokenizer.start_id is not None else "\n")
