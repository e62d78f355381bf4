"""Which model, for the commands that load one."""

import argparse

DTYPES = ("float32", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and in which dtype."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="a .keras file, such as runs/NAME/model.keras; a preset's or a Hugging Face folder; or hf://OWNER/NAME",
    )
    parser.add_argument("--adapter", metavar="FILE", help="what fine-tune has learned beside this model")
    add_dtype_argument(parser)


def add_dtype_argument(parser: argparse.ArgumentParser) -> None:
    """In which dtype the model is loaded."""
    parser.add_argument(
        "--dtype", choices=DTYPES, metavar="DTYPE", help=f"of a model that is no .keras file: {', '.join(DTYPES)}"
    )
