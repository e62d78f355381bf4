"""Write the executed notebooks as pages of the documentation, with their pictures, into docs/notebooks.

    python scripts/notebook_pages.py

The folder is made from notebooks/*.ipynb each time, so it is not in the repository.
"""

import runpy
import shutil
from pathlib import Path

from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs/notebooks"
# From its file: the package would load a backend.
in_ink = runpy.run_path(str(ROOT / "keras_griffin/inspection/svg.py"))["in_ink"]
#: Without a table of contents at their side, the pages have room for code of 120 columns.
HEAD = "---\nhide:\n  - toc\n---\n\n"


#: Code that a notebook hides, such as that of a plot, is folded.
TEMPLATE = """
{%- extends 'markdown/index.md.j2' -%}
{% block input %}
{% if cell.metadata.get('jupyter', {}).get('source_hidden') %}
??? quote "Code of this figure"
{{ super() | indent(4, true) }}
{% else %}{{ super() }}{% endif %}
{% endblock input %}
"""


def main():
    """Write every page."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    for source in sorted((ROOT / "notebooks").glob("[0-9]*.py")):
        write_page(source.with_suffix(".ipynb"), PAGES)


def write_page(notebook: Path, folder: Path) -> None:
    """Write one notebook as a page, and its pictures beside it."""
    files = f"{notebook.stem}_files"
    text, resources = MarkdownExporter(raw_template=TEMPLATE).from_filename(
        str(notebook), resources={"unique_key": notebook.stem, "output_files_dir": files}
    )
    # A notebook links to pages as they lie in the repository.
    text = text.replace("](../docs/", "](../")
    # Two formulas on successive lines are one paragraph, which Markdown takes for one formula.
    text = text.replace("$$\n$$", "$$\n\n$$")
    title, rest = text.lstrip().split("\n", 1)
    note = f"*This page is [`notebooks/{notebook.name}`]({notebook.name}), as it ran: open it in Jupyter to change it.*"
    (folder / f"{notebook.stem}.md").write_text(f"{HEAD}{title}\n\n{note}\n{rest}", "utf-8")
    shutil.copy(notebook, folder)
    for name, picture in resources["outputs"].items():
        (folder / name).parent.mkdir(exist_ok=True)
        ink = in_ink(picture.decode()).encode() if name.endswith(".svg") else picture
        (folder / name).write_bytes(ink)


if __name__ == "__main__":
    main()
