"""mkdocs's hooks, named in mkdocs.yml: what a page of the site has that its Markdown only asks for.

- `<!-- names -->` on a page of the API becomes the table of its names: one line each, and a link to the source.
- `<!-- entries of keras_griffin.mixers -->` becomes an entry for each name that the package exports.
- `<!-- presets -->` becomes the table of `keras_griffin.models.presets()`.
- A link to a file outside of docs/, such as a test, leads to a copy of the file in the site.
- The first use of a glossary's word on a page leads to the glossary.
- The foot of each page has the version.
"""

import os
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: The words of the glossary, lowered, and their anchors.
TERMS = {
    term.lower(): anchor
    for term, anchor in re.findall(r"^(.+) \{ #([\w-]+) \}$", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE)
}
#: One of them, or its plural. The longest comes first: not `block` in `block-diagonal`.
TERM = re.compile(rf"(?<![\w-])({'|'.join(sorted(map(re.escape, TERMS), key=len, reverse=True))})s?(?![\w-])", re.I)


def on_config(config):
    """Set the foot of each page, and where its source is edited if the repository is published."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    config.copyright = f"{config.site_name} {version}"
    config.edit_uri = "edit/main/docs/" if config.repo_url else None
    return config


def on_page_markdown(markdown, *, page, config, files):
    """Fill the table of names, and bring the files that are linked into the site."""
    folder = (DOCS / page.file.src_uri).parent
    if "<!-- presets -->" in markdown:
        markdown = markdown.replace("<!-- presets -->", "\n".join(preset_rows()))
    markdown = re.sub(r"<!-- entries of ([\w.]+) -->", lambda match: "\n\n".join(entries(match[1])), markdown)
    names = "| name | what it is | |\n|---|---|---|\n" + "\n".join(name_rows(markdown, folder))
    markdown = markdown.replace("<!-- names -->", names)

    def inside(link):
        target = Path(os.path.normpath(folder / link[1]))
        if target.is_relative_to(DOCS):
            return link[0]
        if not target.is_file():
            raise PluginError(f"{page.file.src_uri} links to {link[1]}, which is not in the repository")
        # As text, which a browser shows from a folder, too.
        address = f"source/{target.relative_to(ROOT).as_posix()}.txt"
        if address not in files.src_uris:
            files.append(File.generated(config, address, abs_src_path=str(target)))
        return f"]({os.path.relpath(DOCS / address, folder)})"

    return re.sub(r"\]\(((?:\.\./)+[\w/.-]+)\)", inside, markdown)


def entries(path):
    """What asks mkdocstrings for the entry of each name that a package exports."""
    return [f"::: {path}.{name}" for name in package()[path.removeprefix("keras_griffin.")].exports]


def name_rows(markdown, folder):
    """The rows of the table of names: each object that the page shows under a heading of its own."""
    for path, options in re.findall(r"^::: ([\w.]+)\n?((?:    .*\n?)*)", markdown, re.MULTILINE):
        # What mkdocstrings shows: the object itself under a heading, or else the members named, or all.
        members = re.search(r"^ +members:(.*(?:\n +- .*)*)", options, re.MULTILINE)
        if "show_root_heading: false" not in options:
            paths = [path]
        elif members is None:
            paths = [f"{path}.{name}" for name in package()[path.removeprefix("keras_griffin.")].exports]
        else:
            paths = [f"{path}.{name}" for name in re.findall(r"\w+", members[1]) if name != "false"]
        for each in paths:
            thing = package()[each.removeprefix("keras_griffin.")]
            thing = thing.final_target if thing.is_alias else thing
            line = re.sub(r"\s+", " ", thing.docstring.value.split("\n\n")[0]) if thing.docstring else ""
            line = line.replace("|", "\\|")
            source = os.path.relpath(thing.filepath, folder)
            yield f"| [`{thing.name}`][{each}] | {line} | [source]({source}) |"


#: What the presets of a family are for, by the first word of their names.
PURPOSES = {
    "griffin": "the paper's Griffin, to train anew",
    "hawk": "the paper's Hawk, Griffin without attention, to train anew",
    "mqa": "the paper's Transformer, to compare with",
    "recurrentgemma": "released weights: `hf://google/recurrentgemma-{size}`",
    "mamba": "released weights: `hf://state-spaces/mamba-{size}`",
    "rwkv4": "released weights, in [files of several names](guides/rwkv.md#load)",
    "python": "a small model of Python that comes with the package",
}


def preset_rows():
    """The table of presets."""
    # A backend that every environment has: nothing is computed.
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    from keras_griffin.models import presets

    yield "| name | parameters | GB in bfloat16 | what it is for |\n|---|---|---|---|"
    for name, config in presets().items():
        family, size = name.split("_", 1)
        count = config.parameter_count()
        yield f"| `{name}` | {count:,} | {2 * count / 1e9:.3f} | {PURPOSES[family].format(size=size)} |"


def package(loaded=[]):  # noqa: B006  It is read once for all pages.
    """The package, read and not imported."""
    if not loaded:
        # As mkdocs.yml has it: `#:` above a name describes it.
        extensions = griffe.load_extensions("griffe_sphinx")
        loaded.append(griffe.load("keras_griffin", search_paths=[ROOT], extensions=extensions))
    return loaded[0]


def on_page_content(html, *, page, config, files):
    """Link first uses to the glossary, but in the glossary."""
    if page.file.src_uri == "glossary.md":
        return html
    glossary = files.get_file_from_path("glossary.md").url_relative_to(page.file)
    return FirstUses(glossary).of(html)


def on_post_page(output, **_):
    """Leave out material's request to GitHub for the stars of a repository."""
    return output.replace(' data-md-component="source"', "")


def on_post_template(output, **_):
    """The same for the page that stands in for a missing one."""
    return on_post_page(output)


class FirstUses(HTMLParser):
    """Links the first use of each term in running text.

    Args:
        glossary: the address of the glossary's page.
    """

    #: Text in these is no running text, or is a link already.
    CLOSED = {"a", "button", "code", "math", "pre", "script", "style", "svg", "table", *(f"h{n}" for n in range(1, 7))}

    def __init__(self, glossary):
        super().__init__(convert_charrefs=False)
        self.glossary, self.depth, self.linked, self.parts = glossary, 0, set(), []

    def of(self, html):
        """The page with its links."""
        self.feed(html)
        self.close()
        return "".join(self.parts)

    def link(self, use):
        """A use of a term, in a link if it is the first."""
        term = use[1].lower()
        if term in self.linked:
            return use[0]
        self.linked.add(term)
        return f'<a class="term" href="{self.glossary}#{TERMS[term]}">{use[0]}</a>'

    def handle_data(self, data):
        self.parts.append(data if self.depth else TERM.sub(self.link, data))

    def handle_starttag(self, tag, attrs):
        self.depth += tag in self.CLOSED
        self.parts.append(self.get_starttag_text())

    def handle_startendtag(self, tag, attrs):
        self.parts.append(self.get_starttag_text())

    def handle_endtag(self, tag):
        self.depth -= tag in self.CLOSED
        self.parts.append(f"</{tag}>")

    def handle_entityref(self, name):
        self.parts.append(f"&{name};")

    def handle_charref(self, name):
        self.parts.append(f"&#{name};")

    def handle_comment(self, data):
        self.parts.append(f"<!--{data}-->")
