"""Fine-tune a model on conversations, with LoRA adapters.

CHATS has one conversation per line, as JSON:

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

The loss counts the answers only; conversations have the format that chat uses. MODEL is a preset's
or a Hugging Face folder, hf://OWNER/NAME, or a .keras file; a preset quantised by convert
--quantize works too. The output folder gets adapter.safetensors after each epoch, log.csv, and with
--merge the preset merged, with the adapter in its kernels. Ctrl-C stops after the current batch,
saves the adapter, and exits with 130.
"""

import argparse

from keras_griffin.commands.arguments import positive_float, positive_int
from keras_griffin.commands.arguments import seed as seed_number
from keras_griffin.commands.options.model import add_dtype_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="the model to start from")
    parser.add_argument("chats", metavar="CHATS", help="the file of conversations")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder for the adapter")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in FOLDER")
    parser.add_argument("--merge", action="store_true", help="also write the merged model, as a preset")
    parser.add_argument("--validation", metavar="CHATS", help="file of held-out conversations, for val_bits")
    add_dtype_argument(parser)
    adapters = parser.add_argument_group("adapters")
    adapters.add_argument(
        "--rank", type=positive_int, default=16, metavar="N", help="of each adapter (default: %(default)s)"
    )
    adapters.add_argument(
        "--alpha", type=positive_float, metavar="X", help="scale adapters by X / rank (default: the rank)"
    )
    adapters.add_argument(
        "--targets",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help="projections to adapt, such as query,value (default: all)",
    )
    training = parser.add_argument_group("training")
    numbers = {
        "epochs": (1, "passes over the conversations"),
        "batch-size": (4, "rows in a batch"),
        "sequence-length": (512, "tokens in a row; a longer conversation is truncated"),
        "accumulation": (1, "batches per update"),
    }
    for name, (default, text) in numbers.items():
        training.add_argument(
            f"--{name}", type=positive_int, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    training.add_argument(
        "--learning-rate",
        type=positive_float,
        default=2e-4,
        metavar="X",
        help="peak learning rate (default: %(default)s)",
    )
    training.add_argument(
        "--rematerialize", action="store_true", help="recompute blocks in the backward pass to save memory"
    )
    training.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="seed of the adapters and the order (default: 0)"
    )
