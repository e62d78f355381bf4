"""Real against complex recurrences, in Hawk: on text, on sinusoids and on images. Appendix B."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops
from matplotlib.axes import Axes

from experiments.data.digits import LENGTH, VOCABULARY_SIZE, digits_batch
from experiments.data.long_text import text_name, window_batch
from experiments.data.sinusoids import sinusoids
from experiments.harness.claims import NOT_GIVEN, Claim, Verdict, verdict
from experiments.harness.intervals import Interval, deviation, is_above, is_below, is_within, of_seeds
from experiments.harness.plots import Figure, panels
from experiments.harness.run import Run
from experiments.harness.search import is_kept_in_its_setting, kept_rates, kept_trials, planned, trials_by_seed
from experiments.harness.table import Table, Trial
from experiments.harness.training import (
    TESTING,
    TO_ZERO,
    Test,
    batches,
    falling_rate_with_decay,
    nats_of_rows,
    rows_right,
)
from experiments.harness.words import percent
from experiments.models.families import RING, TINY, Style, first_decays
from keras_griffin.inspection.plots import FAMILY_COLOURS
from keras_griffin.models import GriffinConfig, Hawk, LanguageModel
from keras_griffin.tasks import TaskBatch

TITLE = "Complex recurrences"
FIGURE = "appendix B"
PAPER = (
    "The complex unit (CG-LRU) is defined, and no number of it is given: complex recurrences were not beneficial for "
    "language modelling, and may be for other modalities."
)
DIFFERS = (
    "Hawk with RG-LRUs and with CG-LRUs of the same width, 8 blocks in each gate; a complex gate has half as many "
    "outputs, so the complex model is a little smaller. Three tasks, each as tokens: bytes of the source of Python's "
    "standard library, in rows of 128; sums of three sinusoids in 32 levels, of which the level 4 steps later is asked "
    "in the second half of a row, since the next one follows from the last few; and scikit-learn's handwritten digits, "
    "pixel by pixel, of which the digit is asked after the last, with 1,157 images to train on, 320 for validation and "
    "320 for the test. Text and digits have 1,000 steps, sinusoids 1,500. A unit that rotates also forgets, so text is "
    "read with both kinds of first decays: the paper's, which are judged, and those of the released code (ring). Adam "
    "(beta_2 0.99, gradients clipped to norm 1, weight decay 0.1) with a cosine of the rate to zero. Differences have "
    "95 % intervals from the spread of three seeds, pooled over the units of a task. Images are these digits alone."
)
RATES = (
    "Learning rates: on each task each unit keeps the rate with the least loss of validation in the runs of the first "
    "seed; every run is above."
)
#: A difference in nats that does not count.
TOLERANCE = 0.02
#: The recurrent unit of each family, also of those with the ring's decays, and its colour and marker in plots.
UNITS = {"real": "rg_lru", "complex": "cg_lru"}
WITH_RING = (*UNITS, *(f"{name}{RING}" for name in UNITS))
STYLES: dict[str, Style] = {"real": (FAMILY_COLOURS["RGLRU"], "^"), "complex": (FAMILY_COLOURS["CGLRU"], "D")}
#: In per cent: of the learnt phases.
QUANTILES = (10, 50, 90)


# Config


def _config(vocabulary_size: int, num_layers: int) -> GriffinConfig:
    """Hawk of width 64, with blocks that divide half the width of the recurrence."""
    return GriffinConfig(
        vocabulary_size=vocabulary_size,
        width=64,
        num_layers=num_layers,
        num_heads=2,
        recurrence_width=80,
        num_gate_blocks=8,
        decay_initializer="paper",
    )


@dataclass(frozen=True)
class Task:
    """What to train on, and how long."""

    #: A key of `ROWS`, which is also the setting.
    name: str
    config: GriffinConfig
    #: T of a row.
    length: int
    steps: int
    batch_size: int = 32
    validate_every: int = 250
    validation_rows: int = 320
    test_rows: int = 1024
    units: tuple[str, ...] = tuple(UNITS)
    #: Of sinusoids: the steps from a token to its answer.
    ahead: int = 0


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    tasks: tuple[Task, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...] = (0, 1, 2)


SIZES = {
    "smoke": Size(
        tasks=(
            Task(
                "sinusoids",
                TINY.replace(num_layers=1, num_gate_blocks=8, recurrence_width=16),
                length=8,
                steps=4,
                batch_size=4,
                validate_every=2,
                validation_rows=8,
                test_rows=8,
                ahead=1,
                # One model, since compiling takes most of the time.
                units=("complex",),
            ),
        ),
        learning_rates=(1e-2,),
        seeds=(0,),
    ),
    "small": Size(
        tasks=(
            # First, so that a machine without scikit-learn says so at once.
            Task("digits", _config(VOCABULARY_SIZE, 5), length=LENGTH, steps=1000, test_rows=320),
            Task("sinusoids", _config(32, 5), length=128, steps=1500, batch_size=16, ahead=4),
            Task("text", _config(256, 6), length=128, steps=1000, batch_size=16, units=WITH_RING),
        ),
        learning_rates=(2e-3, 4e-3, 8e-3),
    ),
    # The paper's model of 1.3 billion parameters on text, for accelerators; it has no other task.
    "paper": Size(
        tasks=(
            Task(
                "text",
                GriffinConfig(
                    vocabulary_size=256,
                    width=2048,
                    num_layers=24,
                    num_heads=16,
                    recurrence_width=2560,
                    decay_initializer="paper",
                ),
                length=2048,
                steps=50_000,
                batch_size=256,
                validate_every=1000,
            ),
        ),
        learning_rates=(2e-4, 4e-4),
    ),
}


# Runs


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """On each task the search for a learning rate, then each seed."""
    size = SIZES[scale]

    def run(name, task, learning_rate, seed):
        data = {"length": task.length, "test_rows": task.test_rows, "unit": UNITS[name.removesuffix(RING)]}
        own = {"text": {"text": text_name()}, "sinusoids": {"ahead": task.ahead}, "digits": {}}
        return Run(
            experiment="complex_recurrence",
            scale=scale,
            family=name,
            config=task.config.replace(decay_initializer=first_decays(name)),
            data={**data, **own[task.name]},
            setting=task.name,
            batch_size=task.batch_size,
            steps=task.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=task.validate_every,
            validation_rows=task.validation_rows,
            # All steps are done, whatever has been learnt.
            solved=2.0,
            schedule=TO_ZERO,
        )

    runs = []
    for task in size.tasks:
        runs += planned(run, [task], size.learning_rates, seeds, table.part(task.name), task.units)
    return runs


is_kept = is_kept_in_its_setting


def make_model(run: Run) -> LanguageModel:
    """Hawk with the run's unit in every block."""
    options = {"recurrent": {"unit": run.data["unit"]}}
    return Hawk(run.config.replace(block_pattern=("recurrent",), mixer_options=options))


optimizer = falling_rate_with_decay


def _sinusoids(run: Run, rows: int, seed: int) -> TaskBatch:
    return sinusoids(rows, run.data["length"], run.config.vocabulary_size, run.data["ahead"], seed)


def _digits(run: Run, rows: int, seed: int) -> TaskBatch:
    return digits_batch(rows, seed)


#: The rows of each task.
ROWS: dict[str, Callable[[Run, int, int], TaskBatch]] = {
    "text": window_batch,
    "sinusoids": _sinusoids,
    "digits": _digits,
}


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Rows of the run's task."""
    return ROWS[run.setting](run, rows, seed)


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The nats of new rows, the share of right digits, and of a complex unit the learnt phases."""
    tested = list(batches(run, make_batch, run.data["test_rows"], TESTING))
    yield run.setting, "nats", float(nats_of_rows(model, tested).mean())
    if run.setting == "digits":
        yield run.setting, "accuracy", float(rows_right(model, tested).mean())
    if run.data["unit"] == "cg_lru":
        for quantile, value in zip(QUANTILES, np.percentile(phases(model), QUANTILES), strict=True):
            yield run.setting, f"phase_{quantile}", float(value)


def phases(model: LanguageModel) -> np.ndarray:
    """By how much each channel of each layer rotates in a step with an open gate, in radians: `(layers * R / 2,)`."""
    units = [block.mixer.cg_lru for block in model.blocks]
    return np.concatenate([np.abs(unit.exponent * ops.convert_to_numpy(unit.phase)) for unit in units])


# Claims


def pairs(table: Table, task: str, decays: str = "") -> list[dict[str, Trial]]:
    """The runs on a task at the rates that were kept, seed by seed, of the seeds that both units have."""
    own = table.part(task)
    units = [f"{unit}{decays}" for unit in UNITS]
    return list(trials_by_seed(own, task, units).values()) if all(own.trials(unit) for unit in units) else []


def of_units(table: Table, task: str, metric: str) -> dict[str, list[float]]:
    """A measure of each unit's seeds on a task."""
    own = table.part(task)
    found = {unit: [table.value(each, metric) for each in kept_trials(own, unit, task)] for unit in kept_rates(own)}
    return {unit: [each for each in values if not math.isnan(each)] for unit, values in found.items()}


def difference(table: Table, task: str, metric: str, decays: str = "") -> Interval | None:
    """The complex unit less the real one; None where not both are tested."""
    found = of_units(table, task, metric)
    own = (found.get(f"{unit}{decays}", ()) for unit in ("complex", "real"))
    return of_seeds(*own, deviation(found.values()))


def they_are_equal_on_text(table: Table) -> Verdict:
    """The complex unit is within the tolerance of the real one, with the paper's decays; the ring's are told."""
    found = _judged(table, "text", "nats", lambda found: is_within(found, TOLERANCE))
    ring = difference(table, "text", "nats", RING)
    evidence = f"{found.evidence}; with the ring's decays {ring or 'not tested'}"
    ours = f"{found.ours}; with the ring's decays {ring.mean:+.3f}" if ring else found.ours
    return found._replace(evidence=evidence, ours=ours)


def complex_is_better_on_sinusoids(table: Table) -> Verdict:
    """The complex unit has fewer nats."""
    return _judged(table, "sinusoids", "nats", lambda found: is_below(found, 0.0))


def complex_is_better_on_digits(table: Table) -> Verdict:
    """The complex unit names more of the digits."""
    return _judged(table, "digits", "accuracy", lambda found: is_above(found, 0.0))


def _judged(table, task, metric, holds: Callable[[Interval | None], bool | None]):
    """The verdict of the difference between the complex and the real unit."""
    found, by_unit = difference(table, task, metric), of_units(table, task, metric)
    told = "; ".join(f"{unit} {', '.join(f'{value:.3f}' for value in own)}" for unit, own in by_unit.items())
    words = f"{metric}, the complex unit less the real one: {found or 'not tested'}; by seed: {told or 'none'}"
    return verdict([holds(found)], words, f"{found.mean:+.3f} {metric}" if found else "")


CLAIMS = (
    Claim(
        "Complex recurrences are not beneficial for language modelling",
        "on text within 0.02 nats of real ones",
        they_are_equal_on_text,
        FIGURE,
        NOT_GIVEN,
        "rotation forgets; slow decays cannot",
    ),
    Claim(
        "They may be beneficial for other modalities: series",
        "fewer nats on sums of sinusoids",
        complex_is_better_on_sinusoids,
        FIGURE,
        NOT_GIVEN,
    ),
    Claim(
        "The same: images",
        "more of the handwritten digits named",
        complex_is_better_on_digits,
        FIGURE,
        NOT_GIVEN,
        before="undecided by a bootstrap over 320 digits",
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    values = {name: table.value(trial, name) for name in ("nats", *(f"phase_{each}" for each in QUANTILES))}
    nats, *learnt = ("" if math.isnan(value) else f"{value:.3f}" for value in values.values())
    return {
        "nats": nats,
        "digits, %": percent(table.value(trial, "accuracy")),
        "c theta, 10, 50 and 90 % of the channels": ", ".join(filter(None, learnt)),
    }


#: By task: the measure, its factor and its name in plots.
SHOWN = {
    "text": ("nats", 1 / math.log(2), "bits a byte"),
    "sinusoids": ("nats", 1.0, "nats an answer"),
    "digits": ("accuracy", 100.0, "right digits, %"),
}


def finding(table: Table) -> str:
    """On which tasks the complex unit is certainly better, and on text with the ring's decays by how much."""
    found = {task: difference(table, task, metric) for task, (metric, _, _) in SHOWN.items()}
    better = [task for task, each in found.items() if (is_above if task == "digits" else is_below)(each, 0.0)]
    ring = difference(table, "text", "nats", RING)
    with_ring = f"; with ring decays on text {ring.mean:+.3f} nats" if ring else ""
    return f"Complex is certainly better on {', '.join(better) or 'nothing'}{with_ring}" if any(found.values()) else ""


def draw(table: Table) -> Figure:
    """On each task both units, with a line between those of a seed, and the phases that the complex one has learnt.

    A dashed line is between those with the ring's decays.
    """
    figure, (*of_tasks, learnt) = panels(4, widths=(1, 1, 1, 1.8), styles=STYLES)
    for place, (axes, (task, (metric, factor, words))) in enumerate(zip(of_tasks, SHOWN.items(), strict=True)):
        for shift, runs in enumerate(pairs(table, task)):
            _pair(axes, [factor * table.value(runs[name], metric) for name in UNITS])
            quantiles = [table.value(runs["complex"], f"phase_{each}") / math.pi for each in QUANTILES]
            _range(learnt, place + 0.2 * (shift - 1), *quantiles)
        with_ring = pairs(table, task, RING)
        for runs in with_ring:
            _pair(axes, [factor * table.value(run, metric) for run in runs.values()], "--")
        axes.set(title=f"{task} (dashed: ring)" if with_ring else task, ylabel=words, xlim=(-0.5, 1.5))
        axes.set_xticks([])
    learnt.axhspan(0.01, 0.09, color="gray", alpha=0.2, linewidth=0)
    learnt.set(title="Learnt rotation", ylabel="c theta / pi, 10 to 90 %", xlim=(-0.5, 2.5), ylim=(0, None))
    learnt.set_xlabel("(grey: at the start)")
    learnt.set_xticks(range(len(SHOWN)), SHOWN, fontsize="small")
    return figure


def _pair(axes: Axes, values: Sequence[float], line: str = "-") -> None:
    """A value of each unit, with a line between them."""
    axes.plot(range(2), values, line, color="gray", linewidth=0.8)
    for place, (value, (colour, marker)) in enumerate(zip(values, STYLES.values(), strict=True)):
        axes.plot([place], [value], color=colour, marker=marker, markersize=6, alpha=0.8)


def _range(axes: Axes, x: float, low: float, middle: float, high: float) -> None:
    """A vertical line from low to high, with a marker between."""
    colour, marker = STYLES["complex"]
    axes.plot([x, x], [low, high], color=colour, linewidth=1.2)
    axes.plot([x], [middle], color=colour, marker=marker, markersize=5)
