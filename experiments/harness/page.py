"""Write the results into docs/experiments.md: every claim of the paper in one table, the counts of their verdicts, and
under each experiment its plot and its verdicts or its runs. And into docs/paper.md: the counts of each figure.

    python -m experiments.harness.page

What is written is between `<!-- name -->` and `<!-- end -->`, with the name of an experiment, `claims` or `verdicts`;
in docs/paper.md it is in the last cell of the rows that name a report. The plots are copied to docs/experiments, since
the documentation is built from docs alone.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from experiments.harness import report
from experiments.harness.claims import WORDS, Claim, Verdict
from experiments.harness.runner import FOLDER, NAMES, experiment
from experiments.harness.table import Table
from experiments.harness.words import markdown
from keras_griffin.files import atomic_file

RESULTS = FOLDER / "results"
PAGE = FOLDER.parent / "docs" / "experiments.md"
PAPER = FOLDER.parent / "docs" / "paper.md"
#: The status of an experiment in docs/paper.md; its counts follow.
STATUS = "small scale"
NOT_RUN = "Not yet run"
#: Of each experiment that has been run, the claims of the paper, and their verdicts.
Judged = dict[str, list[tuple[Claim, Verdict]]]


def filled(page: str, results: Path) -> str:
    """The page with the results of every experiment.

    Args:
        page: Markdown.
        results: the folder of the reports.
    """
    found = judged(results)
    tables = {"claims": claims, "verdicts": counts}

    def result(match):
        text = tables[match[1]](found) if match[1] in tables else section(match[1], results)
        return f"<!-- {match[1]} -->\n\n{text}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", result, page, flags=re.DOTALL)


def judged(results: Path) -> Judged:
    """The verdicts of the paper's claims, from the tables in the folder of the reports."""
    tables = {name: table_of(name, results) for name in NAMES}
    return {
        name: [(each, each.judge(table)) for each in of_the_paper(name)] for name, table in tables.items() if table.rows
    }


def table_of(name: str, results: Path) -> Table:
    """The results of an experiment; empty if it has not been run."""
    file = results / f"{name}.csv"
    return Table.read(file) if file.exists() else Table()


def of_the_paper(name: str) -> list[Claim]:
    """The claims of an experiment that are the paper's."""
    return [claim for claim in experiment(name).CLAIMS if claim.figure]


def claims(judged: Judged) -> str:
    """The counts of all claims of the paper, a row for each, and the experiments that are not among them."""
    rows, counted = [], words(itertools.chain(*judged.values()))
    for name, verdicts in judged.items():
        # As Markdown makes it from a heading.
        anchor = re.sub(r"\W+", "-", experiment(name).TITLE.lower())
        for claim, found in verdicts:
            rows.append(
                {
                    "figure": f"[{claim.figure}](#{anchor})",
                    "the paper's claim": claim.paper,
                    "the paper's number": claim.number,
                    "ours": found.ours,
                    "verdict": report.emphasised(claim, found.word),
                    report.WHY: claim.why,
                }
            )
    waiting = [experiment(name).TITLE for name in NAMES if name not in judged and of_the_paper(name)]
    parts = [f"{len(rows)} claims: {in_words(counted)}.", markdown(rows)] if rows else []
    return "\n\n".join(parts + [f"{NOT_RUN}: {', '.join(waiting)}."] * bool(waiting))


def counts(judged: Judged) -> str:
    """How many claims of the paper have each verdict, by experiment."""
    rows = []
    for name, verdicts in judged.items():
        module, number = experiment(name), words(verdicts)
        if number:
            title = f"{module.TITLE} ({module.FIGURE})"
            rows.append({"experiment": title, **{word: str(number[word] or "") for word in WORDS}})
    return markdown(rows) if rows else f"{NOT_RUN}."


def words(verdicts: Iterable[tuple[Claim, Verdict]]) -> Counter[str]:
    """How many claims have each verdict."""
    return Counter(found.word for _, found in verdicts)


def in_words(number: Counter[str]) -> str:
    """Such counts in a line; empty if there are none."""
    return ", ".join(f"{number[word]} {word}" for word in WORDS if number[word])


def section(name: str, results: Path) -> str:
    """The plot of an experiment, and its verdicts, or its runs if it has no claims."""
    table, module = table_of(name, results), experiment(name)
    if not table.rows:
        return f"{NOT_RUN}."
    return f"![{module.TITLE}](experiments/{name}.svg)\n\n{report.summary(module, table)}"


def with_statuses(paper: str, results: Path) -> str:
    """docs/paper.md with the verdicts of a figure in each row that names it and the report of an experiment."""
    found = judged(results)

    def row(match):
        start, figure, name = match.groups()
        counts = in_words(words(pair for pair in found.get(name, ()) if pair[0].figure == figure))
        return f"{start}{STATUS}: {counts} |" if counts else f"{start}{STATUS} |"

    return re.sub(rf"(\| ([^|]+) \|.*`experiments/results/(\w+)\.md` \| ){STATUS}[^|]* \|", row, paper)


def update(page: Path = PAGE, results: Path = RESULTS, paper: Path = PAPER) -> None:
    """Update the page, the plots beside it and docs/paper.md."""
    plots = page.with_suffix("")
    for plot in sorted(results.glob("*.svg")):
        plots.mkdir(exist_ok=True)
        with atomic_file(plots / plot.name) as aside:
            aside.write_bytes(plot.read_bytes())
    for path, written in ((page, filled), (paper, with_statuses)):
        text = written(path.read_text(), results)
        with atomic_file(path) as aside:
            aside.write_text(text)


if __name__ == "__main__":
    update()
