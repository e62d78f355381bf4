"""The report of an experiment: a CSV file, and a Markdown page and a plot that are made from it alone."""

import math
import textwrap
from pathlib import Path
from types import ModuleType

import matplotlib

from experiments.harness.claims import NOT_GIVEN, Claim
from experiments.harness.search import is_kept
from experiments.harness.table import Table, Trial
from experiments.harness.words import count, markdown, millions, rate, without_empty_columns
from keras_griffin.files import atomic_file
from keras_griffin.inspection.svg import svg_of

#: The start of a page's last line, which names the version that has drawn the plot.
DRAWN_WITH = "Plot: matplotlib "
#: Of the experiments that search as `search.py` does.
RATES = (
    "Learning rates: each family keeps the rate with the least loss of validation in the runs of the first setting and "
    "seed; every run is above."
)
#: The column of the reasons of verdicts.
WHY = "why it may differ"
#: Letters of a line below a plot.
LETTERS = 115


def write_report(module: ModuleType, name: str, table: Table, folder: Path) -> None:
    """Write NAME.csv, and from it NAME.svg and NAME.md."""
    folder.mkdir(parents=True, exist_ok=True)
    table.write(folder / f"{name}.csv")
    table = Table.read(folder / f"{name}.csv")
    with atomic_file(folder / f"{name}.svg") as aside:
        save_plot(module, table, aside)
    with atomic_file(folder / f"{name}.md") as aside:
        aside.write_text(f"{page(module, name, table)}\n\n{DRAWN_WITH}{matplotlib.__version__}.\n")


def save_plot(module: ModuleType, table: Table, path: Path) -> None:
    """Draw a table below its finding; the same version of matplotlib writes the same bytes."""
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = module.draw(table)
        # The layout puts a title of the figure over its legend, which `plots.panels` has made.
        figure.legends[0].set_title(module.finding(table), prop={"size": 11})
        if numbers := papers_numbers(module):
            figure.supxlabel(textwrap.fill(numbers, LETTERS), size=8, color="gray")
        path.write_text(svg_of(figure))


def papers_numbers(module: ModuleType) -> str:
    """The paper's numbers in a line; empty if it gives none."""
    numbers = dict.fromkeys(claim.number for claim in module.CLAIMS if claim.number and claim.number != NOT_GIVEN)
    return f"The paper: {'; '.join(numbers)}" if numbers else ""


def page(module: ModuleType, name: str, table: Table) -> str:
    """The page, but for its last line, which says what has drawn the plot."""
    return "\n\n".join(
        [
            f"# {module.TITLE} ({module.FIGURE})",
            f"The paper: {module.PAPER}",
            f"Here: {module.DIFFERS}",
            *([verdict_table(module, table)] if module.CLAIMS else []),
            f"![{module.TITLE}]({name}.svg)",
            run_table(module, table),
            *rates(module, table),
            *circumstances(table),
        ]
    )


def verdict_table(module: ModuleType, table: Table) -> str:
    """Every claim with its verdict, whatever it is, and the reasons if there are any."""
    rows = []
    for claim in module.CLAIMS:
        word, evidence, _ = claim.judge(table)
        verdict = {"verdict": emphasised(claim, word), "evidence": evidence, WHY: claim.why}
        rows.append({"the paper": claim.paper, "here": claim.here, **verdict})
    return markdown(without_empty_columns(rows))


def emphasised(claim: Claim, word: str) -> str:
    """A verdict, and what it was before."""
    return f"**{word}**{claim.before and f' (before: {claim.before})'}"


def summary(module: ModuleType, table: Table) -> str:
    """The verdicts, or every run of an experiment that only reports."""
    return verdict_table(module, table) if module.CLAIMS else run_table(module, table)


def run_table(module: ModuleType, table: Table) -> str:
    """Every run, those at rates that were not kept too; a column that is empty in all of them is left out."""
    return markdown(without_empty_columns([_run(module, table, trial) for trial in table.trials()]))


def rates(module: ModuleType, table: Table) -> list[str]:
    """How the learning rates were searched, if they were."""
    searched = {trial.learning_rate for trial in table.trials()} - {None}
    return [getattr(module, "RATES", RATES)] if len(searched) > 1 else []


def circumstances(table: Table) -> list[str]:
    """The seconds, the machines, the versions and the commits of all runs."""
    trials = table.trials()
    seconds = sum(table.value(trial, "seconds") for trial in trials)
    return [f"{len(trials)} runs, {seconds / 60:,.0f} minutes together."] + [
        f"{what}: {'; '.join(dict.fromkeys(table.text(trial, fact) for trial in trials))}."
        for what, fact in (("Machine", "machine"), ("Versions", "versions"), ("Commit", "commit"))
    ]


def _run(module: ModuleType, table: Table, trial: Trial) -> dict[str, str]:
    kept = getattr(module, "is_kept", is_kept)(table, trial)
    return {
        "model": trial.family,
        getattr(module, "SETTING", "trained on"): trial.setting,
        "learning rate": f"{rate(trial.learning_rate)}{'' if kept else ' (not kept)'}",
        "seed": str(trial.seed),
        "parameters": count(table.value(trial, "parameters")),
        "MFLOP a token": millions(table.value(trial, "flops_per_token")),
        # None are taken where nothing is trained.
        "steps": count(table.last_step(trial) or math.nan),
        **module.columns(table, trial),
        "seconds": count(math.ceil(table.value(trial, "seconds"))),
    }
