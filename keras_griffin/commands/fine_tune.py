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
import math
import random
import shutil
import sys
import time
from pathlib import Path

from keras_griffin.commands.shared.errors import INTERRUPTED, CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import add_dtype, add_number, add_output, positive_float, seed
from keras_griffin.commands.shared.terminal import print_rows

ADAPTER, LOG, MERGED = "adapter.safetensors", "log.csv", "merged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help="the model to start from")
    parser.add_argument("chats", metavar="CHATS", help="the file of conversations")
    add_output(parser, "FOLDER", "folder for the adapter", "an earlier result in FOLDER", required=True)
    parser.add_argument("--merge", action="store_true", help="also write the merged model, as a preset")
    parser.add_argument("--validation", metavar="CHATS", help="file of held-out conversations, for val_bits")
    add_dtype(parser)
    adapters = parser.add_argument_group("adapters")
    add_number(adapters, "--rank", 16, "of each adapter")
    text = "scale adapters by X / rank (default: the rank)"
    adapters.add_argument("--alpha", type=positive_float, metavar="X", help=text)
    text = "projections to adapt, such as query,value (default: all)"
    adapters.add_argument("--targets", type=lambda text: text.split(","), metavar="NAMES", help=text)
    training = parser.add_argument_group("training")
    add_number(training, "--epochs", 1, "passes over the conversations")
    add_number(training, "--batch-size", 4, "rows in a batch")
    add_number(training, "--sequence-length", 512, "tokens in a row; a longer conversation is truncated")
    add_number(training, "--accumulation", 1, "batches per update")
    add_number(training, "--learning-rate", 2e-4, "peak learning rate")
    text = "recompute blocks in the backward pass to save memory"
    training.add_argument("--rematerialize", action="store_true", help=text)
    add_number(training, "--seed", 0, "seed of the adapters and the order", seed)


def run(arguments: argparse.Namespace) -> int:
    """Train the adapters and save them."""
    from keras_griffin.commands.shared.load import load_text_model
    from keras_griffin.commands.shared.training import prepare_training

    prepare_training("fine-tune")
    started = time.perf_counter()
    folder, taken = output_folder(arguments.output, arguments.overwrite)
    # Keras draws its initialisers' seeds from here.
    random.seed(arguments.seed)
    model = load_text_model("fine-tune", arguments.model, arguments.dtype, option="MODEL")
    if arguments.merge and model.quantized_to is not None:
        raise CommandError(
            "fine-tune: --merge needs a MODEL that is not quantised. "
            f"Got {arguments.model!r}, quantised to {model.quantized_to}."
        )
    data = packed_chats(model, arguments.chats, arguments, "CHATS")
    held_out = packed_chats(model, arguments.validation, arguments, "--validation") if arguments.validation else None
    with refusals():
        model.enable_lora(arguments.rank, targets=arguments.targets, alpha=arguments.alpha)
    model.rematerialize = arguments.rematerialize
    print_rows(describe(arguments, model, data))
    with refusals_of_the_disk("fine-tune", "--output must be writable, on a disk with enough space", str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        if MERGED in taken:
            # It would not fit the new adapter.
            shutil.rmtree(folder / MERGED)
        is_interrupted, loss = fit(model, data, held_out, arguments, folder)
        if not math.isfinite(loss):
            raise CommandError(
                "fine-tune: the loss must stay finite. "
                f"Got NaN or infinity with the learning rate {arguments.learning_rate}."
            )
        model.save_adapter(folder / ADAPTER)
        print_rows({"saved": str(folder / ADAPTER)})
        if is_interrupted:
            return INTERRUPTED
        if arguments.merge:
            model.merge_lora()
            with refusals():
                model.save_to_preset(folder / MERGED)
            print_rows({"merged": str(folder / MERGED)})
    print_rows({"time": f"{time.perf_counter() - started:.0f} s in total"})
    return 0


def output_folder(name: str, overwrite: bool) -> tuple[Path, list[str]]:
    """The folder of `--output`, and the parts of an earlier result there, if it may be replaced."""
    folder = Path(name)
    taken = [each for each in (ADAPTER, MERGED) if (folder / each).exists()]
    if not name or (folder.exists() and not folder.is_dir()):
        raise CommandError(f"fine-tune: --output must be a folder, or a path that does not exist. Got {name!r}.")
    if taken and not overwrite:
        raise CommandError(
            "fine-tune: --output must not contain an earlier result; --overwrite replaces it. "
            f"Got {name!r} with {', '.join(taken)}."
        )
    return folder, taken


def packed_chats(model, name: str, arguments: argparse.Namespace, option: str):
    """The conversations of a file, packed into rows; only their answers have weight."""
    from keras_griffin.training import PackedDocuments, read_chats

    with refusals(), refusals_of_the_disk("fine-tune", f"{option} must be a file that can be read", name):
        chats = read_chats(name, model.tokenizer)
        data = PackedDocuments(
            chats.documents,
            arguments.sequence_length,
            arguments.batch_size,
            seed=arguments.seed,
            shuffle=option == "CHATS",
            long_documents="truncate",
            vocabulary_size=model.config.vocabulary_size,
            weights=chats.weights,
        )
    if not data.counts.predictions:
        raise CommandError(
            f"fine-tune: at least one answer must begin within --sequence-length. Got {arguments.sequence_length} and "
            f"no such answer in {name!r}."
        )
    return data


def describe(arguments: argparse.Namespace, model, data) -> dict[str, str]:
    """The model, its adapters and the conversations."""
    adapters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    base = model.count_params() - adapters
    projections = () if model.lora is None else model.lora.layers
    bits = "" if model.quantized_to is None else f", quantised to {model.quantized_to}"
    batches = f", {arguments.accumulation} batches per update" if arguments.accumulation > 1 else ""
    return {
        "model": f"{arguments.model}, {base:,} parameters in {model.dtype_policy.name}{bits}",
        "adapters": f"{adapters:,} parameters of rank {arguments.rank} in {len(projections)} projections, "
        f"{adapters / base:.2%}",
        "chats": f"{data.counts}, {data.counts.predictions:,} in answers",
        "batch": f"{arguments.batch_size} rows of {arguments.sequence_length} tokens{batches}",
    }


def fit(model, data, held_out, arguments: argparse.Namespace, folder: Path) -> tuple[bool, float]:
    """Train, saving the adapter after each epoch; return whether Ctrl-C ended it, and the last loss."""
    import keras

    from keras_griffin.training import default_optimizer
    from keras_griffin.training.interruption import stop_on_interrupt

    packed = model.packed(logits=False)
    steps = arguments.epochs * data.num_batches
    # Batches are small, so the second moment is averaged over many of them.
    optimizer = default_optimizer(
        model, arguments.learning_rate, steps=steps, beta_2=0.99, accumulation=arguments.accumulation
    )
    packed.compile(optimizer)
    saving = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.save_adapter(folder / ADAPTER))
    sentence = "Stopping after this batch and saving the adapter; press Ctrl-C again to stop at once."
    with refusals(), stop_on_interrupt(sentence) as interruption:
        history = packed.fit(
            data,
            epochs=arguments.epochs,
            validation_data=held_out,
            shuffle=False,
            callbacks=[keras.callbacks.TerminateOnNaN(), saving, keras.callbacks.CSVLogger(folder / LOG), interruption],
            # A progress bar is unreadable in a file.
            verbose=1 if sys.stdout.isatty() else 2,
        )
    return interruption.is_interrupted, history.history["loss"][-1]
