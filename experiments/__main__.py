"""The command line; what it does is in the package's docstring."""

import argparse
import os
import sys
from pathlib import Path

import keras

import experiments as package
from experiments.data.long_text import VARIABLE, corpus
from experiments.harness.page import RESULTS, update
from experiments.harness.report import summary, write_report
from experiments.harness.runner import FOLDER, NAMES, carry_out, experiment, finished
from experiments.harness.table import Table
from keras_griffin.backends import WITH_GRADIENTS
from keras_griffin.training import retain_memory

SEEDS = "further ones beside those of the report, separated by commas (default: those of the scale)"


def main(arguments: list[str] | None = None) -> None:
    """Carry out what is still to do, write the reports, and print the verdicts."""
    options = parsed(arguments)
    refusals = []
    for name in options.names:
        module = experiment(name)
        file = options.output / f"{name}.csv"
        try:
            reported = Table.read(file) if file.exists() else Table()
        except ValueError as error:
            refusals.append(f"{name}: {error}")
            continue
        asked = options.seeds or module.SIZES[options.scale].seeds
        # The first is that of the search.
        seeds = tuple(dict.fromkeys([*(trial.seed for trial in reported.trials()), *asked]))
        plan = module, options.scale, seeds, options.runs, reported
        table, waiting = finished(*plan)
        if options.list:
            print(f"{name}: {module.TITLE}, {module.FIGURE}; {len(table.trials())} finished, {len(waiting)} to run")
            continue
        refusal = "" if options.report else getattr(module, "refusal", lambda scale: "")(options.scale)
        lost = {trial.run for trial in reported.trials()} - {trial.run for trial in table.trials()}
        if lost and not refusal:
            refusal = (
                f"{name}: a report must have every run of the one that it replaces; --output names another folder. Got "
                f"{len(lost)} runs in {file} that are not among those with seeds {', '.join(map(str, seeds))} at scale "
                f"{options.scale} on this machine."
            )
        if refusal:
            # The others are carried out, which can take hours, so the refusal is told before and after them.
            refusals.append(refusal)
            if name != options.names[-1]:
                print(refusal, file=sys.stderr, flush=True)
            continue
        if not options.report:
            table = carry_out(*plan)
        if table.rows:
            write_report(module, name, table, options.output)
            if options.output == RESULTS:
                update()
            print(f"\n{module.TITLE}\n\n{summary(module, table)}\n\nwritten to {options.output}")
    if refusals:
        sys.exit("\n".join(refusals))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of experiments: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--scale", choices=("smoke", "small", "paper"), default="small", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=_numbers, help=SEEDS)
    parser.add_argument("--list", action="store_true", help="only say what there is, and what has finished")
    parser.add_argument("--report", action="store_true", help="only report what has finished")
    parser.add_argument("--runs", type=Path, default=FOLDER / "runs", help="folder of the runs (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the reports, whose runs are not repeated (default: experiments/results, or runs/SCALE)",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"the experiments are {', '.join(NAMES)}. Got {', '.join(unknown)}.")
    backend = keras.backend.backend()
    if not (options.list or options.report or backend in WITH_GRADIENTS):
        parser.error(f"KERAS_BACKEND must be one of {', '.join(WITH_GRADIENTS)}. Got {backend}.")
    text = os.environ.get(VARIABLE)
    if text and not Path(text).is_file():
        parser.error(f"{VARIABLE} must name a file. Got {text!r}.")
    if text and not (options.list or options.report):
        try:
            corpus()
        except ValueError as error:
            parser.error(str(error))
    options.names = options.names or NAMES
    options.output = options.output or (RESULTS if options.scale == "small" else options.runs / options.scale)
    options.output = options.output.resolve()
    for option in ("runs", "output"):
        folder = getattr(options, option)
        if folder.exists() and not folder.is_dir():
            parser.error(f"--{option} must be a folder. Got {str(folder)!r}.")
    return options


def _numbers(text):
    # Rows of validation and of tests have the seeds that a negative one would train on.
    if not all(number.strip().isdecimal() for number in text.split(",")):
        raise argparse.ArgumentTypeError(f"they must be integers of at least 0, separated by commas. Got {text!r}.")
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    retain_memory()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command resumes.")
