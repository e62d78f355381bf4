"""Open every page of the built documentation in a headless Chromium, as on a desk and on a phone, and list the faults.

    make docs
    .venv/bin/python scripts/browse_site.py site

A page must print no error on the console, ask for nothing that is not in the site, fit the width of the screen, and
draw its formulas. Nothing in it may be cut off or scroll sideways, but code on a phone. The search must find a page,
from a server and from a folder.
"""

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

#: What Chromium is called, by system.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
#: Width and height of the screens, in CSS pixels.
DESK, PHONE = (1400, 900), (390, 844)
#: How long a search may take.
SECONDS = 10
#: In the page: what is wider than the screen, what is cut off or scrolls, formulas left as text.
FAULTS = """
(isDesk) => {
  const faults = [], width = document.documentElement.clientWidth;
  const told = (element) =>
    element.tagName.toLowerCase() + " " + element.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
  const hides = (element) => ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(element).overflowX);
  const scrolls = (element) => element && ![document.body, document.documentElement].includes(element) &&
    (hides(element) || scrolls(element.parentElement));
  if (document.documentElement.scrollWidth > width) faults.push(`the page is wider than the screen`);
  for (const element of document.querySelectorAll("article *")) {
    const box = element.getBoundingClientRect();
    if (box.width > 0 && box.right > width + 1 && !scrolls(element.parentElement))
      faults.push(`too wide: ${told(element)}`);
  }
  // A box that scrolls or clips hides what is wider than it from the check above. Code may scroll on a phone.
  for (const element of document.querySelectorAll("article, article *"))
    if (hides(element) && element.scrollWidth > element.clientWidth + 1 && (isDesk || !element.closest("pre")))
      faults.push(`cut off by ${element.scrollWidth - element.clientWidth} pixels: ${told(element)}`);
  for (const name of document.querySelectorAll("article td code"))
    if (name.getClientRects().length > 1 && !/\\s/.test(name.textContent)) faults.push(`broken: ${told(name)}`);
  for (const formula of document.querySelectorAll("math")) {
    const box = formula.getBoundingClientRect();
    if (box.width * box.height === 0) faults.push(`not drawn: ${told(formula)}`);
  }
  for (const element of document.querySelectorAll("article p, article li, article td"))
    if (/\\$[^$]*[\\\\_^][^$]*\\$/.test(element.innerText)) faults.push(`a formula as text: ${told(element)}`);
  return faults;
}
"""


def chromium() -> str | None:
    """Where Chromium is, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def faults_of(site: Path) -> Iterator[str]:
    """What is wrong with the pages of a site, a line for each fault.

    Args:
        site: the folder that `make docs` wrote.
    """
    from playwright.sync_api import sync_playwright

    handler = functools.partial(Silent, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for screen in (DESK, PHONE):
            tab = browser.new_page(viewport={"width": screen[0], "height": screen[1]})
            faults = []
            tab.on("console", lambda m, faults=faults: m.type == "error" and faults.append(f"console: {m.text}"))
            tab.on("pageerror", lambda error, faults=faults: faults.append(f"script: {error}"))
            tab.on("request", lambda r, faults=faults: faults.extend(elsewhere(r.url, address)))
            for page in sorted(site.glob("**/*.html")):
                name = page.relative_to(site).as_posix()
                faults.clear()
                tab.goto(f"{address}/{name}", wait_until="load")
                yield from (
                    f"{name} at {screen[0]}: {fault}" for fault in faults + tab.evaluate(FAULTS, screen == DESK)
                )
            tab.close()
        if (site / "search").is_dir():
            for home in (address, site.as_uri()):
                yield from search_faults(browser.new_page(), f"{home}/index.html")
        browser.close()
        server.shutdown()


def search_faults(tab, page: str) -> Iterator[str]:
    """What to say of a page's search, if it finds nothing."""
    from playwright.sync_api import TimeoutError

    tab.goto(page)
    tab.focus(".md-search__input")
    tab.keyboard.type("recurrence")
    try:
        tab.wait_for_selector(".md-search-result__item", timeout=1000 * SECONDS)
    except TimeoutError:
        yield f"{page}: the search finds nothing"


def elsewhere(url: str, address: str) -> list[str]:
    """What to say of a request, if it leaves the site."""
    outside = urlsplit(url).scheme in ("http", "https") and not url.startswith(address)
    return [f"asks for {url}"] if outside else []


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and prints nothing."""

    def log_message(self, *_):
        """Say nothing."""


def main():
    """Print the faults; the exit status is 1 where there are some, and 0 with a word where there is no browser."""
    if chromium() is None:
        print(f"No page was opened: none of {', '.join(CHROMIUM)} is installed.")
        return 0
    faults = list(faults_of(Path(sys.argv[1]).resolve()))
    print("\n".join(faults) or "Every page is in order.")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
