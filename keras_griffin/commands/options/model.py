"""The options of commands that load a model."""

import argparse

DTYPES = ("float32", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, its adapter and its dtype."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="the folder of a run, such as runs/NAME, or a .keras file; a preset's or a Hugging Face folder; "
        "hf://OWNER/NAME; or python_tiny",
    )
    parser.add_argument("--adapter", metavar="FILE", help="an adapter that fine-tune trained for this model")
    add_dtype_argument(parser)


def add_dtype_argument(parser: argparse.ArgumentParser) -> None:
    """The dtype in which the model is loaded."""
    parser.add_argument("--dtype", choices=DTYPES, metavar="DTYPE", help=f"{', '.join(DTYPES)}; not for a .keras file")
