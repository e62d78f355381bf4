"""The report of an experiment: a CSV file, and a Markdown page and a plot that are made from it alone."""

import math
from pathlib import Path
from types import ModuleType

import matplotlib

from experiments.harness.search import is_kept
from experiments.harness.table import Table, Trial
from experiments.harness.words import count, markdown, millions, rate
from keras_griffin.files import atomic_file
from keras_griffin.inspection.svg import svg_of

#: The start of a page's last line, which names the version that has drawn the plot.
DRAWN_WITH = "Plot: matplotlib "
#: Of the experiments that search as `search.py` does.
RATES = (
    "Learning rates: each family keeps the rate with the fewest steps to 95 % of the tokens, then the one with the "
    "least loss, in the runs of the first setting and seed; every run is above."
)


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
        path.write_text(svg_of(figure))


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
    """Every claim with its verdict, whatever it is."""
    rows = []
    for claim in module.CLAIMS:
        word, evidence = claim.judge(table)
        rows.append({"the paper": claim.paper, "here": claim.here, "verdict": f"**{word}**", "evidence": evidence})
    return markdown(rows)


def summary(module: ModuleType, table: Table) -> str:
    """The verdicts, or every run of an experiment that only reports."""
    return verdict_table(module, table) if module.CLAIMS else run_table(module, table)


def run_table(module: ModuleType, table: Table) -> str:
    """Every run, those at rates that were not kept too; a column that is empty in all of them is left out."""
    rows = [_run(module, table, trial) for trial in table.trials()]
    return markdown([{name: cell for name, cell in row.items() if any(each[name] for each in rows)} for row in rows])


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
