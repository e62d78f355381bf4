"""Fine-tune a model on conversations, by adapters beside its weights.

CHATS has a conversation in each line, as JSON:

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

The answers alone are learned, in the format in which chat speaks with the model. MODEL is the
folder of a preset or of Hugging Face, hf://OWNER/NAME, or a .keras file; what convert
--quantize has written serves too. The folder of the output gets adapter.safetensors after each
epoch, log.csv, and with --merge the preset merged, whose kernels hold what was learned. Ctrl-C
stops after the batch, keeps the adapter, and exits with 130.
"""

import argparse

from keras_griffin.commands.arguments import positive_float, positive_int
from keras_griffin.commands.arguments import seed as seed_number
from keras_griffin.commands.options.model import add_dtype_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="the model to begin with")
    parser.add_argument("chats", metavar="CHATS", help="the file of conversations")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the adapter will be")
    parser.add_argument("--merge", action="store_true", help="write the merged model too, as a preset")
    parser.add_argument("--validation", metavar="CHATS", help="conversations that are not learned, for val_bits")
    add_dtype_argument(parser)
    adapters = parser.add_argument_group("adapters")
    adapters.add_argument("--rank", type=positive_int, default=16, metavar="N", help="(default: %(default)s)")
    adapters.add_argument("--alpha", type=positive_float, metavar="X", help="what N is scaled to (default: the rank)")
    adapters.add_argument(
        "--targets", type=lambda text: text.split(","), metavar="NAMES", help="such as query,value (default: all)"
    )
    training = parser.add_argument_group("training")
    numbers = {
        "epochs": (1, "times that the conversations are read"),
        "batch-size": (4, "rows in a batch"),
        "sequence-length": (512, "tokens in a row; a longer conversation loses its end"),
        "accumulation": (1, "batches whose gradients make one update"),
    }
    for name, (default, text) in numbers.items():
        training.add_argument(
            f"--{name}", type=positive_int, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    training.add_argument(
        "--learning-rate", type=positive_float, default=2e-4, metavar="X", help="at its peak (default: %(default)s)"
    )
    training.add_argument("--rematerialize", action="store_true", help="compute blocks twice, to keep less in memory")
    training.add_argument(
        "--seed", type=seed_number, default=0, metavar="N", help="of the adapters and the order (default: 0)"
    )
