"""Write the results into docs/experiments.md, the counts of the verdicts first and under each experiment its plot and
its verdicts or its runs, and the counts into docs/paper.md.

    python -m experiments.harness.page

What is written is between `<!-- name -->` and `<!-- end -->`, with the name of an experiment, or `verdicts` for the
counts; in docs/paper.md it is in the last cell of the rows that name a report. The plots are copied to
docs/experiments, since the documentation is built from docs alone.
"""

import re
from collections import Counter
from pathlib import Path

from experiments.harness import report
from experiments.harness.claims import WORDS
from experiments.harness.runner import FOLDER, NAMES, experiment
from experiments.harness.table import Table
from experiments.harness.words import markdown
from keras_griffin.files import atomic_file

RESULTS = FOLDER / "results"
PAGE = FOLDER.parent / "docs" / "experiments.md"
PAPER = FOLDER.parent / "docs" / "paper.md"
#: The status of an experiment in docs/paper.md; its counts follow.
STATUS = "small scale"


def filled(page: str, results: Path) -> str:
    """The page with the results of every experiment.

    Args:
        page: Markdown.
        results: the folder of the reports.
    """

    def result(match):
        text = counts(results) if match[1] == "verdicts" else found(match[1], results)
        return f"<!-- {match[1]} -->\n\n{text}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", result, page, flags=re.DOTALL)


def found(name: str, results: Path) -> str:
    """The plot of an experiment, and its verdicts, or its runs if it has no claims."""
    file, module = results / f"{name}.csv", experiment(name)
    if not file.exists():
        return "Not yet run."
    return f"![{module.TITLE}](experiments/{name}.svg)\n\n{report.summary(module, Table.read(file))}"


def counts(results: Path) -> str:
    """How many claims of each experiment have each verdict."""
    rows = []
    for name in NAMES:
        module, number = experiment(name), verdicts(name, results)
        if number:
            rows.append(
                {"experiment": f"{module.TITLE} ({module.FIGURE})", **{word: str(number[word] or "") for word in WORDS}}
            )
    return markdown(rows) if rows else "Not yet run."


def verdicts(name: str, results: Path) -> Counter:
    """How many claims of an experiment have each verdict; empty if it has no claims or was not run."""
    file, claims = results / f"{name}.csv", experiment(name).CLAIMS
    return Counter(claim.judge(Table.read(file)).word for claim in claims) if file.exists() else Counter()


def with_statuses(paper: str, results: Path) -> str:
    """docs/paper.md with the verdicts of each row that names the report of an experiment."""

    def row(match):
        number = verdicts(match[2], results)
        counts = ", ".join(f"{number[word]} {word}" for word in WORDS if number[word])
        return f"{match[1]}{STATUS}: {counts} |" if counts else f"{match[1]}{STATUS} |"

    return re.sub(rf"(`experiments/results/(\w+)\.md` \| ){STATUS}[^|]* \|", row, paper)


def update(page: Path = PAGE, results: Path = RESULTS, paper: Path = PAPER) -> None:
    """Update the page, the plots beside it and docs/paper.md."""
    plots = page.with_suffix("")
    for plot in sorted(results.glob("*.svg")):
        plots.mkdir(exist_ok=True)
        with atomic_file(plots / plot.name) as aside:
            aside.write_bytes(plot.read_bytes())
    for path in (page, paper):
        text = with_statuses(filled(path.read_text(), results), results)
        with atomic_file(path) as aside:
            aside.write_text(text)


if __name__ == "__main__":
    update()
