"""Associative recall: pairs of a key and a value, then every key is asked once. Beyond the paper: MQAR."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.data.associative_recall import associative_recall
from experiments.harness.claims import Claim, Verdict, verdict
from experiments.harness.curriculum import part_of
from experiments.harness.intervals import Interval, deviation, in_short, is_above, of_seeds
from experiments.harness.plots import Figure, learning_curve, panels
from experiments.harness.run import Run
from experiments.harness.search import LEVEL, is_kept_in_its_setting, kept_trials, planned
from experiments.harness.table import Table, Trial
from experiments.harness.training import TESTING, TO_ZERO, Test, batches, falling_rate, score
from experiments.harness.words import count, percent, ranking
from experiments.models.families import FAMILIES, STYLES, Style
from keras_griffin.inspection import decode_cost
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.tasks import TaskBatch

TITLE = "Associative recall"
FIGURE = "beyond the paper"
PAPER = (
    "Griffin's has no such experiment. Arora et al. (arXiv 2312.04927) ask for the values of 4 to 16 keys in rows of "
    "64 to 256 tokens. Two layers of attention answer all at a width of 64, whereas models without attention need a "
    "width that grows with the length."
)
DIFFERS = (
    "8 pairs in rows of 64 tokens, a vocabulary of 32 in place of 8,192, and a gated MLP of width 64 in each of three "
    "blocks. All runs have 4,000 steps of 64 new rows, 320,000 in all: in the first quarter of the steps the rows have"
    " 4 pairs in 32 tokens and are twice as many. Griffin has two recurrent blocks, then local attention with a window"
    " of half a row, or of the whole row. Heads have 32 channels, and the steps between two keys are empty. The state "
    "is that of one row at its last token, in float32. Differences have 95 % intervals from the spread of three seeds,"
    " pooled over all models. The optimizer is Adam (beta_2 0.99, gradients clipped to norm 1, no weight decay), with "
    "100 steps of warm-up, then a cosine of the rate to zero."
)
RATES = (
    "Learning rates: at each width each family keeps the rate with the least loss of validation in the runs of the "
    "first seed; every run is above."
)
#: The accuracy from which a model has learnt the task.
LEARNT = 0.99
#: The accuracy of one family from which the failure of another counts: the task can be learnt.
LEARNABLE = 0.9
#: By so much Griffin is better where a little attention closes a gap.
BETTER = 0.1
#: Griffin whose attention sees the whole row.
WHOLE = "Griffin, whole row"
FAMILY_STYLES: dict[str, Style] = {**STYLES, WHOLE: (STYLES["Griffin"][0], "D")}
#: The first quarter of the steps has rows of half the length.
MIXED = ((0.0, 2), (0.25, 1))


# Config


@dataclass(frozen=True)
class Size:
    """What a scale consists of."""

    length: int
    num_pairs: int
    #: From the greatest, at which attention is to answer all.
    widths: tuple[int, ...]
    steps: int
    learning_rates: tuple[float, ...]
    vocabulary_size: int = 32
    mlp_width: int = 64
    head_dim: int = 32
    curriculum: tuple[tuple[float, int], ...] = MIXED
    families: tuple[str, ...] = tuple(FAMILY_STYLES)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 64
    validate_every: int = 100
    validation_rows: int = 512
    test_rows: int = 1024


SIZES = {
    "smoke": Size(
        length=16,
        num_pairs=2,
        widths=(16,),
        steps=4,
        learning_rates=(1e-2,),
        vocabulary_size=16,
        mlp_width=0,
        head_dim=8,
        curriculum=((0.0, 1),),
        # One model, since compiling takes most of the time.
        families=("Griffin",),
        seeds=(0,),
        batch_size=4,
        validate_every=2,
        validation_rows=8,
        test_rows=8,
    ),
    "small": Size(64, 8, (64, 32), 4000, (1e-3, 2e-3, 4e-3)),
    # The longest rows, the widths and rates, and 64 epochs of 100,000 rows, of Arora et al., for an accelerator.
    "paper": Size(
        length=256,
        num_pairs=16,
        widths=(64, 128, 256, 512),
        steps=100_000,
        learning_rates=(1e-4, 4.64e-4, 2.15e-3, 1e-2),
        vocabulary_size=8192,
        mlp_width=0,
        validate_every=1000,
    ),
}


# Runs


def name(length: int, num_pairs: int, width: int) -> str:
    """A setting in words: the task, and the width of the models."""
    return f"{num_pairs} pairs in {length:,}, width {width}"


def width_of(setting: str) -> int:
    """The width that a setting names."""
    return int(setting.split()[-1])


def plan(scale: str, seeds: Sequence[int], table: Table) -> list[Run]:
    """At each width the search for a learning rate, then each seed."""
    size = SIZES[scale]

    def run(family, width, learning_rate, seed):
        return Run(
            experiment="associative_recall",
            scale=scale,
            family=family,
            config=GriffinConfig(
                vocabulary_size=size.vocabulary_size,
                width=width,
                num_layers=3,
                num_heads=width // size.head_dim,
                mlp_width=size.mlp_width,
                window=size.length if family == WHOLE else size.length // 2,
                block_pattern=("recurrent", "recurrent", "local_mqa"),
                decay_initializer="paper",
            ),
            data={
                "length": size.length,
                "num_pairs": size.num_pairs,
                "curriculum": size.curriculum,
                "test_rows": size.test_rows,
            },
            setting=name(size.length, size.num_pairs, width),
            batch_size=size.batch_size,
            steps=size.steps,
            learning_rate=learning_rate,
            seed=seed,
            validate_every=size.validate_every,
            validation_rows=size.validation_rows,
            # All steps are done, whatever has been learnt.
            solved=2.0,
            schedule=TO_ZERO,
        )

    runs = []
    for width in size.widths:
        own = table.part(name(size.length, size.num_pairs, width))
        runs += planned(run, [width], size.learning_rates, seeds, own, size.families)
    return runs


is_kept = is_kept_in_its_setting
optimizer = falling_rate


def make_model(run: Run) -> LanguageModel:
    """The model of a run's family, whatever its window."""
    return FAMILIES[run.family.partition(",")[0]](run.config)


def make_batch(run: Run, rows: int, seed: int) -> TaskBatch:
    """Rows of the task: in training of the length that the curriculum has at the step of a seed."""
    part, (length, num_pairs) = part_of(run, seed), (run.data[name] for name in ("length", "num_pairs"))
    sizes = part * rows, length // part, num_pairs // part
    return associative_recall(*sizes, vocabulary_size=run.config.vocabulary_size, seed=seed)


def test(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The accuracy on new rows, and the bytes of the state from which a row's last token is decoded."""
    found = score(model, batches(run, make_batch, run.data["test_rows"], TESTING))
    yield run.setting, "test_accuracy", found.token_accuracy
    yield run.setting, "test_row_accuracy", found.row_accuracy
    state_bytes = decode_cost(model.config, 1, run.data["length"], dtype="float32").cache_bytes
    yield run.setting, "state_bytes", state_bytes


# Claims


def accuracies(table: Table) -> dict[int, dict[str, list[float]]]:
    """The accuracies on new rows of each seed, by width, from the greatest, and family."""
    found: dict[int, dict[str, list[float]]] = {}
    for setting in sorted(table.settings(), key=width_of, reverse=True):
        own = table.part(setting)
        by_family = {
            family: [table.value(trial, "test_accuracy") for trial in kept_trials(own, family, setting)]
            for family in FAMILY_STYLES
        }
        found[width_of(setting)] = {family: values for family, values in by_family.items() if values}
    return found


def difference(table: Table, one: tuple[int, str], other: tuple[int, str]) -> Interval | None:
    """By how much the accuracy at a width, of a family, is above another."""
    found = accuracies(table)
    spread = deviation(values for families in found.values() for values in families.values())
    return of_seeds(*(found.get(width, {}).get(family, ()) for width, family in (one, other)), spread)


def attention_answers_all(table: Table) -> Verdict:
    """The Transformer answers 99 % at the greatest width; undecided where no family learns the task."""
    width, families = next(iter(accuracies(table).items()))
    best = max((max(values) for values in families.values()), default=0.0)
    outcomes = [True if value >= LEARNT else False if best >= LEARNABLE else None for value in families.get("MQA", ())]
    told = _percents({width: families}, ("MQA",))
    return verdict(outcomes, f"accuracy of MQA in %, by seed: {told}", told)


def hawk_is_bound_by_its_state(table: Table) -> Verdict:
    """Hawk certainly answers less at each smaller width; undecided where it answers all even there."""
    found = accuracies(table)
    outcomes = []
    for wide, narrow in zip(found, list(found)[1:], strict=False):
        is_full = min(found[narrow].get("Hawk", [0.0])) >= LEARNT
        outcomes.append(None if is_full else is_above(difference(table, (wide, "Hawk"), (narrow, "Hawk")), 0.0))
    told = _percents(found, ("Hawk",))
    return verdict(outcomes, f"accuracy of Hawk in %, by seed: {told}", told)


def griffin_answers_more(table: Table) -> Verdict:
    """At the least width Griffin is certainly 10 points better than Hawk; with the whole row in its window is told."""
    found = accuracies(table)
    width = list(found)[-1]
    gap, whole = (difference(table, (width, family), (width, "Hawk")) for family in ("Griffin", WHOLE))
    told = _percents(found, ("Griffin", WHOLE, "Hawk"))
    words = f"accuracy in %, by seed: {told}; at width {width}, less Hawk's: {gap or 'not compared'}, {WHOLE} {whole}"
    return verdict([is_above(gap, BETTER)], words, in_short([gap], f"of the answers at width {width}, less Hawk's"))


def _percents(found, families):
    """Accuracies by family and width, in words."""
    return "; ".join(
        f"{family}, width {width} {', '.join(map(percent, by_family[family]))}"
        for family in families
        for width, by_family in found.items()
        if family in by_family
    )


CLAIMS = (
    Claim("Attention answers all at a width of 64", "MQA at least 99 % at a width of 64", attention_answers_all),
    Claim(
        "A model without attention needs a width that grows with the length",
        "Hawk certainly answers less at a width of 32 than at 64",
        hawk_is_bound_by_its_state,
    ),
    Claim(
        "A little attention closes the gap (of hybrids; Griffin is not among theirs)",
        "at a width of 32 Griffin certainly at least 10 points above Hawk",
        griffin_answers_more,
    ),
)


# Report


def columns(table: Table, trial: Trial) -> dict[str, str]:
    """What the report says of a run."""
    return {
        "state, bytes": count(table.value(trial, "state_bytes")),
        "area above the curve, steps": count(table.area_above(trial, "token_accuracy")),
        "steps to 95 %": count(table.steps_to(trial, "token_accuracy", LEVEL)),
        "answers, %": percent(table.value(trial, "test_accuracy")),
        "rows, %": percent(table.value(trial, "test_row_accuracy")),
    }


def finding(table: Table) -> str:
    """The accuracies at the least width."""
    width, shares = list(accuracies(table).items())[-1]
    return ranking(f"At a width of {width}, {{}} answers {{}} %", shares)


def draw(table: Table) -> Figure:
    """Accuracy against steps, a panel for each width and a line for each seed."""
    widths = list(accuracies(table))
    figure, axes = panels(len(widths), styles=FAMILY_STYLES)
    for each, setting in zip(axes, sorted(table.settings(), key=width_of, reverse=True), strict=True):
        own = table.part(setting)
        for family, style in FAMILY_STYLES.items():
            for trial in kept_trials(own, family, setting):
                learning_curve(each, style, *table.curve(trial, "token_accuracy"))
        each.set(title=f"width {width_of(setting)}", xlabel="steps")
    axes[0].set_ylabel("right answers, %")
    return figure
