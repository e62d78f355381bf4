"""The browser finds what is wrong with a page, so that a site in order means something."""

import pytest

from scripts import browse_site
from scripts.browse_site import chromium, elsewhere, faults_of

PAGE = "<!doctype html><html><body><article>{}</article></body></html>"
FAULTS = {
    "console": ("<script>console.error('no')</script>", "console: no"),
    "script": ("<script>undefined_name()</script>", "script: "),
    "elsewhere": ("<img src='http://127.0.0.2:9/a.png'>", "asks for http://127.0.0.2:9/a.png"),
    "missing": ("<img src='a.png'>", "console: Failed to load"),
    "wide": ("<p style='width: 3000px'>word</p>", "too wide: p word"),
    "cut_off": (
        f"<pre><code style='display: block; overflow: auto'>{'x' * 900}</code></pre>",
        "pixels: code xxx",
    ),
    "scrolls": ("<div style='overflow: auto'><p style='width: 3000px'>word</p></div>", "pixels: div word"),
    "clips": ("<p style='overflow: hidden; white-space: nowrap'>" + "word " * 300 + "</p>", "pixels: p word"),
    "broken": (
        f"<table style='width: 90px'><tr><td><code style='word-break: break-all'>{'y' * 40}</code></td></tr></table>",
        "broken: code yyy",
    ),
    "formula": ("<p>so $a_t$ is</p>", "a formula as text: p so $a_t$ is"),
    "in_order": ("<p>It costs $5 or $6.</p>", None),
}


def test_a_request_beyond_the_site():
    assert elsewhere("https://example.org/x.js", "http://127.0.0.1:1") == ["asks for https://example.org/x.js"]
    assert not elsewhere("http://127.0.0.1:1/x.js", "http://127.0.0.1:1") and not elsewhere("data:x", "http://a")


@pytest.mark.any_backend
@pytest.mark.slow
def test_each_fault_of_a_page_is_found(tmp_path):
    pytest.importorskip("playwright", reason="needs the extra docs")
    if chromium() is None:
        pytest.skip("needs Chromium, which no package of Python brings")
    for name, (body, _) in FAULTS.items():
        (tmp_path / f"{name}.html").write_text(PAGE.format(body))
    # Browsers ask for it unless a page names another.
    (tmp_path / "favicon.ico").touch()
    found = list(faults_of(tmp_path))
    for name, (_, fault) in FAULTS.items():
        of_page = [line for line in found if line.startswith(f"{name}.html at 1400: ")]
        assert any(fault in line for line in of_page) if fault else not of_page, (name, of_page)
    on_phone = {line.split(".html at 390: ")[0] for line in found if ".html at 390: " in line}
    assert on_phone == {*FAULTS} - {"in_order", "cut_off"}, "on a phone code may scroll, and nothing else"


@pytest.mark.any_backend
@pytest.mark.slow
def test_a_search_that_finds_nothing_is_found(tmp_path, monkeypatch):
    pytest.importorskip("playwright", reason="needs the extra docs")
    if chromium() is None:
        pytest.skip("needs Chromium, which no package of Python brings")
    monkeypatch.setattr(browse_site, "SECONDS", 0.1)
    (tmp_path / "search").mkdir()
    (tmp_path / "index.html").write_text(PAGE.format("<input class='md-search__input'>"))
    (tmp_path / "favicon.ico").touch()
    found = list(faults_of(tmp_path))
    assert len(found) == 2 and found[0].startswith("http:") and found[1].startswith("file:"), found
