"""Reports are made from a CSV file alone: the same bytes from the same table, and so the committed ones."""

import re
from types import SimpleNamespace

import matplotlib
import pytest

from experiments import selective_copying
from experiments.harness import page, report, runner
from experiments.harness.claims import NOT_GIVEN, NOT_TESTABLE, WORDS, Claim, Verdict
from experiments.harness.report import DRAWN_WITH, emphasised, run_table, save_plot, write_report
from experiments.harness.runner import NAMES, experiment
from experiments.harness.search import is_kept
from experiments.harness.table import Table
from experiments.harness.words import count, markdown, millions, percent, ranking, rate
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend

RESULTS = runner.FOLDER / "results"
#: An experiment that is to be repeated has no CSV.
REPORTED = [
    pytest.param(name, marks=[] if (RESULTS / f"{name}.csv").exists() else pytest.mark.skip("not yet run"))
    for name in NAMES
]


@pytest.fixture(scope="module")
def table():
    """Made-up results of selective copying."""
    return made_up.carried_out(selective_copying, "small", (0, 1), made_up.soonest_at(2e-3))


def test_a_report_has_every_claim_and_every_run(table, tmp_path):
    write_report(selective_copying, "selective_copying", table, tmp_path)
    text = (tmp_path / "selective_copying.md").read_text()
    for claim in selective_copying.CLAIMS:
        assert f"| {claim.paper} | {claim.here} | {emphasised(claim, claim.judge(table).word)} |" in text
    head, _, *rows = (line.split(" | ") for line in run_table(selective_copying, table).splitlines())
    assert len(rows) == len(table.trials())
    # A column that says nothing is left out.
    assert all(any(row[place].strip("| ") for row in rows) for place in range(len(head)))
    finding = selective_copying.finding(table)
    assert finding and f"<!-- {finding} -->" in (tmp_path / "selective_copying.svg").read_text()
    assert "Machine: made up." in text and f"{DRAWN_WITH}{matplotlib.__version__}." in text
    assert text.count("(not kept)") == sum(not is_kept(table, trial) for trial in table.trials()) > 0
    assert "Learning rates: " in text and "| learning rate |" in text


@pytest.mark.parametrize("name", REPORTED)
def test_the_committed_report_is_made_from_the_committed_csv(name, tmp_path):
    file = RESULTS / f"{name}.csv"
    module, table = experiment(name), Table.read(file)
    text, _, version = file.with_suffix(".md").read_text().rpartition(DRAWN_WITH)
    assert text == f"{report.page(module, name, table)}\n\n"
    # Another version of matplotlib may draw other bytes.
    if version.strip() == f"{matplotlib.__version__}.":
        save_plot(module, table, tmp_path / "plot.svg")
        assert (tmp_path / "plot.svg").read_bytes() == file.with_suffix(".svg").read_bytes()


@pytest.mark.parametrize("name", REPORTED)
def test_a_finding_follows_from_the_numbers(name):
    module, table = experiment(name), Table.read(RESULTS / f"{name}.csv")
    # What was greatest is least; then other rates are kept, which may leave nothing to compare.
    other = Table(
        row if row.metric in made_up.FACTS else row._replace(value=str(1 / (1 + float(row.value))))
        for row in table.rows
    )
    assert 0 < len(module.finding(table)) <= 95 and module.finding(other) != module.finding(table)


@pytest.mark.parametrize("name", ["selective_copying", "induction_heads", "associative_recall"])
def test_the_committed_runs_are_those_of_the_plan(name, tmp_path):
    """They are not if a default of `GriffinConfig` changes that they do not name. Texts differ with Python."""
    file = RESULTS / f"{name}.csv"
    if not file.exists():
        pytest.skip("not yet run")
    module, table = experiment(name), Table.read(file)
    found, _ = runner.finished(module, "small", module.SIZES["small"].seeds, tmp_path, table)
    assert found.trials() and {trial.run for trial in found.trials()} == {trial.run for trial in table.trials()}


def test_the_documentation_has_the_committed_results():
    text = page.PAGE.read_text()
    assert page.filled(text, RESULTS) == text
    paper, judged = page.PAPER.read_text(), page.judged(RESULTS)
    # The table at the top is of numbers, not of words alone.
    assert not [claim.paper for verdicts in judged.values() for claim, found in verdicts if not found.ours]
    assert page.with_statuses(paper, RESULTS) == paper
    assert page.claims(judged).partition(".\n")[0] in (page.PAGE.parent.parent / "README.md").read_text()
    # Sections and appendices have no row.
    figures = {claim.figure for verdicts in judged.values() for claim, _ in verdicts if claim.figure[:6] == "Figure"}
    assert figures and paper.count(f"| {page.STATUS}: ") == len(figures)
    # The sections are in the order of the names, and those beyond the paper come last.
    beyond = [name for name in NAMES if experiment(name).FIGURE == "beyond the paper"]
    headings = re.findall(r"^#+ (.*)$|<!-- ((?!end)\w+) -->", text, re.MULTILINE)
    assert [name for _, name in headings if name] == ["claims", "verdicts", *NAMES]
    places = {found: place for place, pair in enumerate(headings) for found in pair}
    assert all((places[name] > places["Beyond the paper"]) == (name in beyond) for name in NAMES)
    assert all(places[experiment(name).TITLE] == places[name] - 1 for name in NAMES)
    assert not [name for name in beyond if page.of_the_paper(name)]
    plots = {f"{name}.svg": (RESULTS / f"{name}.svg").read_bytes() for name in judged}
    assert {file.name for file in RESULTS.glob("*.svg")} == set(plots)
    assert {file.name: file.read_bytes() for file in page.PAGE.with_suffix("").glob("*")} == plots


def test_the_page_takes_plots_and_verdicts(table, tmp_path):
    module, name = selective_copying, "selective_copying"
    docs, paper = tmp_path / "docs.md", tmp_path / "paper.md"
    paper.write_text(f"| Figure 6a | `experiments/results/{name}.md` | small scale: 9 undecided |\n")
    verdicts = "<!-- verdicts -->\n\n{}\n\n<!-- end -->\n\n"
    docs.write_text(f"{verdicts.format('anything')}<!-- {name} -->\n\nanything\n\n<!-- end -->\n\nafter\n")
    page.update(docs, tmp_path / "results", paper)
    assert paper.read_text() == f"| Figure 6a | `experiments/results/{name}.md` | small scale |\n"
    unknown = f"<!-- {name} -->\n\nNot yet run.\n\n<!-- end -->\n\nafter\n"
    assert docs.read_text() == verdicts.format("Not yet run.") + unknown
    write_report(module, name, table, tmp_path / "results")
    page.update(docs, tmp_path / "results", paper)
    assert "small scale: " in paper.read_text()
    text = docs.read_text()
    assert text.endswith("after\n") and report.summary(module, table) in text
    assert f"| {module.TITLE} ({module.FIGURE}) | " in text
    assert f"(experiments/{name}.svg)" in text and (tmp_path / "docs" / f"{name}.svg").exists()


@pytest.fixture
def made_up_experiments(table, tmp_path, monkeypatch):
    """Three experiments, of which the second has not been run and the third is not the paper's; their reports."""

    def claim(place, word, ours="", **said):
        return Claim(f"claim {place}", "here", lambda table: Verdict(word, "evidence", ours), **said)

    before = "undecided, short"
    two_figures = (
        claim(1, "reproduced", "3 times", figure="Figure 4b", number="2 times", before=before),
        claim(2, NOT_TESTABLE, figure="Figure 5", number=NOT_GIVEN, why="too small"),
        # The paper does not say so.
        claim(3, "partly"),
    )
    modules = {
        "one": SimpleNamespace(TITLE="One, or two", FIGURE="Figures 4b and 5", CLAIMS=two_figures),
        "waiting": SimpleNamespace(TITLE="Waiting", FIGURE="Figure 6", CLAIMS=(claim(4, "partly", figure="Figure 6"),)),
        "beyond": SimpleNamespace(TITLE="Beyond", FIGURE="beyond the paper", CLAIMS=(claim(5, "undecided"),)),
    }
    monkeypatch.setattr(page, "NAMES", tuple(modules))
    monkeypatch.setattr(page, "experiment", modules.__getitem__)
    for name in ("one", "beyond"):
        table.write(tmp_path / f"{name}.csv")
    # A file without a run is as if it were not there.
    Table().write(tmp_path / "waiting.csv")
    return tmp_path


def test_the_claims_of_the_paper_are_in_one_table(made_up_experiments):
    text = page.claims(page.judged(made_up_experiments))
    assert text.splitlines() == [
        "2 claims: 1 reproduced, 1 not testable here.",
        "",
        f"| figure | the paper's claim | the paper's number | ours | verdict | {report.WHY} |",
        "| --- | --- | --- | --- | --- | --- |",
        "| [Figure 4b](#one-or-two) | claim 1 | 2 times | 3 times | **reproduced** (before: undecided, short) |  |",
        "| [Figure 5](#one-or-two) | claim 2 | not given |  | **not testable here** | too small |",
        "",
        "Not yet run: Waiting.",
    ]


def test_only_claims_of_the_paper_are_counted_and_of_each_figure_its_own(made_up_experiments):
    head, _, *rows = page.counts(page.judged(made_up_experiments)).splitlines()
    assert head == f"| experiment | {' | '.join(WORDS)} |" and len(WORDS) == 5
    assert rows == ["| One, or two (Figures 4b and 5) | 1 |  |  |  | 1 |"]
    line = "| Figure {} | what | `experiments/results/{}.md` | small scale{} |\n"
    paper = "".join(line.format(*row) for row in (("4b", "one", ""), ("5", "one", ": 9 partly"), ("6", "waiting", "")))
    assert page.with_statuses(paper, made_up_experiments) == "".join(
        line.format(*row)
        for row in (("4b", "one", ": 1 reproduced"), ("5", "one", ": 1 not testable here"), ("6", "waiting", ""))
    )


def test_a_reason_has_a_column_if_there_is_one(made_up_experiments, table):
    one, beyond = (report.verdict_table(page.experiment(name), table).splitlines() for name in ("one", "beyond"))
    assert one[0] == f"| the paper | here | verdict | evidence | {report.WHY} |"
    assert one[3] == "| claim 2 | here | **not testable here** | evidence | too small |"
    assert beyond[0] == "| the paper | here | verdict | evidence |"


def test_the_paper_s_numbers_stand_below_a_plot(table, tmp_path):
    words = "The paper: 16 tokens in 1,024; the axis ends at 100,000 steps"
    assert report.papers_numbers(selective_copying) == words
    assert report.papers_numbers(experiment("pixels")) == ""
    long = tuple(claim._replace(number=40 * "1,024 tokens ") for claim in selective_copying.CLAIMS)
    save_plot(SimpleNamespace(**{**vars(selective_copying), "CLAIMS": long}), table, tmp_path / "long.svg")
    save_plot(selective_copying, table, tmp_path / "short.svg")
    assert f"<!-- {words} -->" in (tmp_path / "short.svg").read_text()
    # A long line is broken: it makes a plot no wider.
    long_width, width = (
        float(re.search(r'viewBox="0 0 (\S+) ', (tmp_path / f"{name}.svg").read_text())[1])
        for name in ("long", "short")
    )
    assert long_width <= 1.02 * width


def test_words():
    nan, infinity = float("nan"), float("inf")
    assert [percent(0.1234), count(1234.4), count(infinity), millions(1_495_000)] == ["12.3", "1,234", "never", "1.50"]
    assert percent(nan) == count(nan) == millions(nan) == ""
    assert [rate(0.003), rate(None)] == ["0.003", ""]
    shares = {"a": [0.5, 0.7], "b": [nan], "c": [0.65]}
    assert ranking("{} has {} %", shares) == "c has 65.0 %, a 60.0"
    assert ranking("{} has {} %", {**shares, "c, d": [0.0]}, least_first=True) == "c, d has 0.0 %; a 60.0; c 65.0"
    assert ranking("{} has {} %", {"b": shares["b"]}) == ranking("{} has {} %", {}) == ""
    assert markdown([{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
