"""Write the results into docs/experiments.md: under each experiment its plot and its verdicts, or its runs.

    python -m experiments.page

What is written is between `<!-- name -->` and `<!-- end -->`, with the name of an experiment. The plots are copied to
docs/experiments, since the documentation is built from docs alone.
"""

import re
from pathlib import Path

from experiments.report import summary
from experiments.runner import FOLDER, experiment
from experiments.table import Table
from keras_griffin.files import atomic_file

RESULTS = FOLDER / "results"
PAGE = FOLDER.parent / "docs" / "experiments.md"


def filled(page: str, results: Path) -> str:
    """The page with the results of every experiment.

    Args:
        page: Markdown.
        results: the folder of the reports.
    """

    def result(match):
        return f"<!-- {match[1]} -->\n\n{found(match[1], results)}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", result, page, flags=re.DOTALL)


def found(name: str, results: Path) -> str:
    """The plot of an experiment, and its verdicts, or its runs if it has no claims."""
    file, module = results / f"{name}.csv", experiment(name)
    if not file.exists():
        return "Not yet run."
    return f"![{module.TITLE}](experiments/{name}.png)\n\n{summary(module, Table.read(file))}"


def update(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Update the page and the plots beside it."""
    plots = page.with_suffix("")
    for plot in sorted(results.glob("*.png")):
        plots.mkdir(exist_ok=True)
        with atomic_file(plots / plot.name) as aside:
            aside.write_bytes(plot.read_bytes())
    text = filled(page.read_text(), results)
    with atomic_file(page) as aside:
        aside.write_text(text)


if __name__ == "__main__":
    update()
