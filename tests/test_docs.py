"""What the documentation says of the code is true, its examples run, and it builds strictly and offline."""

import ast
import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import keras_griffin
from keras_griffin.backend import BACKENDS
from keras_griffin.mixers import mixer_names
from keras_griffin.models import GriffinConfig, presets
from scripts.browse_site import chromium, faults_of
from scripts.page_examples import check_output, examples_of, run_examples
from tests.test_architecture import LADDER

ROOT = Path(__file__).resolve().parent.parent
ITEMS = {
    *(f"({number})" for number in range(1, 15)),
    *(f"Table {number}" for number in range(1, 4)),
    *(f"Figure {number}" for number in ("1a", "1b", 2, 3, 4, 5, "6a", "6b", "6c", 7, 8, 9, 10)),
}
#: The last is for an experiment that was repeated at a small size; its verdicts follow a colon.
STATUSES = ("done", "planned", "out of reach", "small scale")


def rows(text):
    """The rows of all tables in a page that end in a status: a list of the cells, the last without what it adds."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    cells = [[*(cell.strip() for cell in line[:-1]), line[-1].split(":")[0].strip()] for line in lines]
    return [row for row in cells if row[-1] in STATUSES]


def mistakes(text):
    """What is wrong with a page like paper.md: files or names that are not there, and work done without a test."""
    for row in rows(text):
        for path, names in re.findall(r"`([\w/]+\.\w+)`(?:: (`\w+`(?:, `\w+`)*))?", " ".join(row)):
            is_outside = path.startswith(("tests/", "benchmarks/", "experiments/"))
            file = ROOT / path if is_outside else ROOT / "keras_griffin" / path
            source = file.read_text() if file.is_file() else None
            if source is None:
                yield f"{row[0]}: no file {path}"
            for name in re.findall(r"\w+", names):
                if not re.search(rf"^(class|def) {name}\b", source or "", re.MULTILINE):
                    yield f"{row[0]}: no {name} in {path}"
        if row[-1] == "done" and not re.search(r"`(tests|benchmarks)/", " ".join(row)):
            yield f"{row[0]}: done, but no test"
        if row[-1] == "small scale" and not re.search(r"`experiments/results/\w+\.md`", " ".join(row)):
            yield f"{row[0]}: small scale, but no results"


@pytest.mark.parametrize(
    "row",
    [
        "| (1) | gate | `nowhere.py` | `tests/test_docs.py` | done |",
        "| (1) | gate | `backend.py`: `nobody` | `tests/test_docs.py` | done |",
        "| (1) | gate | `backend.py`: `choose_backend` | | done |",
        "| Figure 6a | copying | `experiments/selective_copying.py`: `plan` | | small scale |",
        "| Figure 6a | copying | | `experiments/results/nothing.md` | small scale |",
    ],
)
def test_a_mistake_in_a_page_is_found(row):
    assert list(mistakes(row))


def test_paper_names_only_what_there_is_and_every_numbered_equation_table_and_figure():
    page = (ROOT / "docs/paper.md").read_text()
    assert not list(mistakes(page))
    assert not ITEMS - {item for row in rows(page) for item in row[0].split(", ")}


LINEAGE = ROOT / "docs/lineage.md"


def lineage(heading):
    """The rows under a heading of the page, by their names: a list of their cells, all but the titles of columns."""
    section = LINEAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [
        line.removeprefix("| ").removesuffix(" |").split(" | ") for line in section.splitlines() if line[:2] == "| "
    ]
    return {row[0].split("(")[0].strip("[`] "): row for row in lines if row[0] not in ("name", "named there")}


def test_lineage_has_a_line_for_every_mixer_and_names_only_what_there_is():
    systems = lineage("The systems")
    assert sorted(systems) == sorted(lineage("What each keeps, costs and forgets")) == sorted(mixer_names())
    for name, row in systems.items():
        assert len(row) == 4, name
        assert re.fullmatch(r"\[`\w+`\]\(\.\./keras_griffin/[\w/]+\.py\)", row[0]), name
        assert re.search(r"arxiv.org/abs/\d{4}\.\d{5}", row[1]), name
        assert re.fullmatch(r"\[test\]\(\.\./tests/[\w/]+\.py\)", row[3]), name
        assert all((LINEAGE.parent / file).is_file() for file in re.findall(r"\]\((\.\./[\w/.]+)\)", " ".join(row))), (
            name
        )


def test_the_pictures_of_the_lineage_show_every_mixer():
    pytest.importorskip("matplotlib", reason="needs the extra viz")
    from scripts.figures import SYSTEMS

    assert sorted(row for system in SYSTEMS for row in system.rows) == sorted(mixer_names())
    places = {system.name: place for place, system in enumerate(SYSTEMS)}
    assert all(places[ancestor] < places[system.name] for system in SYSTEMS for ancestor in system.ancestors)


def numbers(counted, letters):
    """What a sum of products comes to, such as `9 D H / 8 + 4`."""
    total = Fraction(0)
    for term in counted.split(" + "):
        above, _, below = term.partition(" / ")
        factors = (letters.get(factor) or int(factor) for factor in above.split())
        total += Fraction(math.prod(factors), int(below or 1))
    return total


@pytest.mark.any_backend
@pytest.mark.parametrize("name", mixer_names())
def test_lineage_counts_the_state_of_every_mixer(name):
    config = GriffinConfig(vocabulary_size=7, width=48, num_layers=1, num_heads=4, window=6, block_pattern=(name,))
    kept = config.mixer_class(name).state_of(48, 10, **config.mixer_arguments(name)).values()
    letters = {"D": 48, "D²": 48**2, "R": config.recurrence_width, "W": 6, "T": 10, "H": 12, "L": 2048}
    counted = lineage("What each keeps, costs and forgets")[name][1]
    # Marks and counts are no part of it.
    assert sum(math.prod(part.shape) for part in kept if part.dtype in (None, "float32")) == numbers(counted, letters)


#: What section 7 of the paper names, in its order.
RELATED_WORKS = (
    *(
        "Transformer",
        "classical RNNs",
        "Quasi-RNN",
        "Martin and Cundy",
        "Long Range Arena",
        "audio generation, SaShiMi",
    ),
    *("state space models", "S4", "S4D", "S5", "H3", "linear attention", "Hyena", "RetNet", "LRU", "RWKV"),
    *("attention-free Transformer", "Mamba", "MambaByte", "Vision Mamba", "GateLoop", "FlashAttention"),
    *("sparse attention", "sliding window attention, Mistral"),
)


def test_lineage_says_what_each_related_work_of_the_paper_is_here():
    """The code in a line begins with a row or a public name, or is Keras's; a line without code says "not here"."""
    works = lineage("Related works of the Griffin paper")
    assert tuple(works) == RELATED_WORKS
    known = {*mixer_names(), *(name.rpartition(".")[2] for name in public_names()), "mlp_width"}
    for work, (_, here) in works.items():
        named = re.findall(r"`\W*(?!keras\.)(?:ops\.)?(\w+).*?`", here)
        assert not {*named} - known, work
        assert named or "keras.layers" in here or "not here" in here, work


def named_in_the_tree(block):
    """Each file and folder that a tree names, from its root; a folder's files stand below it, several on a line."""
    named, above = set(), []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip()) - 4) // 2
        for name in re.findall(r"[\w/]+(?:/|\.py)(?=\s|$)", line):
            above[depth:] = [name] if name.endswith("/") else []
            named.add("".join(above[:depth]) + name)
    return named


def unnamed(named, files):
    """The files that a tree leaves out. A folder with nothing below it stands for all that is in it.

    So does an op's, whose files are the rows of its table and their parts; and `x.py` stands for `<backend>_x.py`.
    """
    opened = {name.rpartition("/")[0] + "/" for name in named if name.endswith(".py")}
    for file in sorted(files):
        folder, _, name = file.rpartition("/")
        if name == "__init__.py" or f"{folder}/" not in opened or re.fullmatch("keras_griffin/ops/.+", folder):
            continue
        general = re.sub(f"^({'|'.join(BACKENDS)})_", "", name)
        if not {file, f"{folder}/{general}"} & named:
            yield file


TREE = """    a/
      b.py  c.py    what they do
      d/            closed
      e/
        f.py
"""


def test_a_file_that_a_tree_leaves_out_is_found():
    named = named_in_the_tree(TREE)
    assert named == {"a/", "a/b.py", "a/c.py", "a/d/", "a/e/", "a/e/f.py"}
    there = {"a/__init__.py", "a/b.py", "a/jax_b.py", "a/c.py", "a/d/x.py", "a/e/f.py"}
    assert list(unnamed(named, there | {"a/g.py", "a/jax_h.py", "a/e/y.py"})) == ["a/e/y.py", "a/g.py", "a/jax_h.py"]
    assert not list(unnamed(named, there))


def test_the_tree_in_architecture_is_the_tree():
    """Each name is there, and each folder and file is named."""
    named = named_in_the_tree((ROOT / "docs/files.md").read_text().split("## The tree\n\n")[1].split("\n\n")[0])
    files = {str(path.relative_to(ROOT)) for path in ROOT.glob("keras_griffin/**/*.py")}
    folders = {f"{file.rpartition('/')[0]}/" for file in files}
    assert not [name for name in named if not (ROOT / name).exists()]
    assert not sorted(folders - named) and not list(unnamed(named, files))


def test_the_page_says_the_ladder():
    """As the rules of tests/test_architecture.py have it: the storeys from the ground up."""
    page = (ROOT / "docs/architecture.md").read_text().split("## The ladder\n")[1].split("## ")[0]
    storeys = re.findall(r"(?:^    .+\n)+", page, re.MULTILINE)
    assert [set(re.findall(r"^    (\w+) ", storey, re.MULTILINE)) for storey in storeys] == [set(x) for x in LADDER]


#: Pages whose examples run on every backend, and whether they train.
PAGES = {"README.md": True, "docs/kernels.md": False, "docs/scaling.md": False}
#: Pages whose examples another file runs, and one whose examples need several accelerators.
ELSEWHERE = {
    "docs/guides/export.md": "tests/export/test_guide.py",
    "docs/guides/long_context.md": "tests/distribution/test_sequence_parallel.py",
    "docs/guides/resuming.md": "tests/training/resuming/test_guide.py",
    "docs/guides/scale.md": "tests/distribution/test_layout_map.py",
}


def pages_with_examples():
    pages = {str(page.relative_to(ROOT)) for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]}
    return {page for page in pages if not page.startswith("docs/notebooks/") and examples_of(ROOT / page)}


#: All others run on one: what they call is tested on each.
ON_ONE = sorted(pages_with_examples() - {*PAGES, *ELSEWHERE})


def test_what_every_page_shows_is_compared():
    """A text block is what the example above it prints."""
    assert {*PAGES, *ELSEWHERE} <= pages_with_examples() and all((ROOT / file).is_file() for file in ELSEWHERE.values())
    for page in pages_with_examples():
        shown = [shown for *_, shown in examples_of(ROOT / page) if shown]
        assert len(shown) == (ROOT / page).read_text().count("```text\n"), page


def test_a_page_shows_what_its_examples_print():
    for shown, printed in [("loss 5.54,\n10 steps", "loss 5.55, 10  steps\n"), ("[-0.1 2.]", "[-0.2 2.]")]:
        check_output(shown, printed)
    for shown, printed in [("5.54", "5.56"), ("5.5", "5.50"), ("10 steps", "11 steps"), ("a 0.1", "b 0.1"), ("a", "")]:
        with pytest.raises(ValueError, match="but its example printed"):
            check_output(shown, printed)


@pytest.mark.parametrize(
    "page",
    [
        *(pytest.param(page, marks=[pytest.mark.trainable] * trains) for page, trains in PAGES.items()),
        *(pytest.param(page, marks=[pytest.mark.trainable, pytest.mark.any_backend]) for page in ON_ONE),
    ],
)
@pytest.mark.slow
def test_the_examples_of_a_page_run(page, tmp_path):
    assert run_examples(ROOT / page, tmp_path)


def public_names():
    """Each name that the package or one of its folders exports, by the path that a user writes."""
    units = ROOT / "keras_griffin/layers/units/__init__.py"
    for file in (ROOT / "keras_griffin/__init__.py", *ROOT.glob("keras_griffin/*/__init__.py"), units):
        package = ".".join(file.parent.relative_to(ROOT).parts)
        for names in re.findall(r"^__all__ = \[(.*?)\]", file.read_text(), re.MULTILINE | re.DOTALL):
            yield from (f"{package}.{name}" for name in re.findall(r'"(\w+)"', names))


#: Methods that stand with the class that a user calls, though another class defines them.
INHERITED = {
    *("keras_griffin.layers.units.RGLRU.call", "keras_griffin.layers.units.RGLRU.reset_state"),
    *("keras_griffin.mixers.RecurrentBlock.call", "keras_griffin.models.Hawk.advance"),
}


def messages():
    """The texts of the package, with … for what is put in."""
    for file in (ROOT / "keras_griffin").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.any_backend
def test_the_index_of_error_messages_has_those_of_the_package():
    """Every one but those that Keras, Python or a backend raises."""
    rows = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    foreign = "`No module named|`Could not locate|`Unknown layer|`expected ndim|`must have the same shape|"
    foreign += "`RESOURCE_EXHAUSTED|`jax.errors"
    wanted = [row.strip("`") for row in rows if not re.match(foreign, row)]
    texts = list(messages())
    assert len(wanted) > 25
    assert not [message for message in wanted if not any(message in text for text in texts)]


#: Material asks such an address for its stars, unless told not to.
REPOSITORY = "https://github.com/someone/keras-griffin"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation, built strictly, with the notebooks' pages."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    for command in (["scripts/notebook_pages.py"], ["-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]):
        run = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            # As if the repository were published.
            env={**os.environ, "REPOSITORY_URL": REPOSITORY},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.any_backend
def test_the_documentation_builds_strictly_with_an_entry_for_every_public_name(site):
    pages = " ".join(path.read_text() for path in site.glob("**/*.html"))
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"https?:\"", pages)
    assert not sorted({*public_names(), *INHERITED} - set(re.findall(r' id="([\w.]+)"', pages)))


@pytest.mark.any_backend
def test_each_name_of_the_api_has_a_line_and_its_source(site):
    for page in (site / "api").glob("*.html"):
        text = page.read_text()
        headings = re.findall(r'<h[23] id="([\w.]+)" class="doc doc-heading"', text)
        rows = re.findall(
            r'href="#([\w.]+)"[^>]*><code>\w+</code></a></td>\s*<td>(.+?)</td>\s*<td><a href="([^"]+)">source',
            text,
            re.S,
        )
        assert rows and {row[0] for row in rows} <= {*re.findall(r' id="([\w.]+)"', text)}, page.name
        assert all((page.parent / source).is_file() for _, _, source in rows), page.name
        # Each heading has a row, or stands below one that has.
        assert headings and not [h for h in headings if not any(f"{h}.".startswith(f"{row[0]}.") for row in rows)]


@pytest.mark.any_backend
def test_the_first_use_of_a_word_of_the_glossary_is_linked(site):
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    from scripts.site_pages import TERMS, FirstUses

    html = "<h2>State</h2><p>A <code>state</code> &amp; a State&#39;s block-diagonal states.<br/></p><!-- state -->"
    expected = (
        html.replace("State&", '<a class="term" href="g.html#state">State</a>&').replace(
            "block-d", '<a class="term" href="g.html#block-diagonal">block-d'
        )
    ).replace("iagonal states", "iagonal</a> states")
    assert FirstUses("g.html").of(html) == expected
    glossary = (site / "glossary.html").read_text()
    assert len(TERMS) > 30 and not {f'<dt id="{anchor}"' for anchor in TERMS.values()} - {
        *re.findall(r'<dt id="[\w-]+"', glossary)
    }
    links = re.findall(r'class="term" href="\.\./(glossary\.html#[\w-]+)"', (site / "guides/packing.html").read_text())
    assert "glossary.html#document" in links and len(links) == len({*links})


@pytest.mark.any_backend
def test_every_preset_has_a_row(site):
    rows = re.findall(r"<td><code>([\w.]+)</code></td>\s*<td>([\d,]+)</td>", (site / "presets.html").read_text())
    assert rows == [(name, f"{config.parameter_count():,}") for name, config in presets().items()]


@pytest.mark.any_backend
def test_pages_say_their_version_and_repository(site):
    page = (site / "guides/packing.html").read_text()
    assert f"keras-griffin {keras_griffin.__version__}" in page and f'href="{REPOSITORY}"' in page
    assert f'href="{REPOSITORY}/edit/main/docs/guides/packing.md"' in page and 'data-md-component="source"' not in page
    assert 'rel="prev"' in page and 'rel="next"' in page and 'href="../favicon.svg"' in page


@pytest.mark.any_backend
def test_every_figure_is_drawn_by_code_and_stands_on_a_page():
    drawn = set(re.findall(r'"(\w+)": \w+', (ROOT / "scripts/figures.py").read_text().split("DRAWINGS = ")[1]))
    pages = " ".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    assert drawn == {file.stem for file in (ROOT / "docs/figures").iterdir()}
    assert drawn == set(re.findall(r"figures/(\w+)\.svg", pages))


@pytest.mark.any_backend
@pytest.mark.slow
def test_every_page_is_in_order_on_a_desk_and_on_a_phone(site):
    pytest.importorskip("playwright", reason="needs the extra docs")
    if chromium() is None:
        pytest.skip("needs Chromium, which no package of Python brings")
    assert not list(faults_of(site))
