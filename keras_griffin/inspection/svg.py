"""A matplotlib figure as an SVG that reads on light and on dark pages."""

import io
from typing import Any

#: The colour of text and axes on a light page, and on a dark one.
INK, LIGHT_INK = "#1a1a1a", "#e2e4e9"
_STYLE = (
    f"<style>:root {{ color: {INK}; fill: currentColor; }} "
    f"@media (prefers-color-scheme: dark) {{ :root {{ color: {LIGHT_INK}; }} }}</style>"
)


def svg_of(figure: Any) -> str:
    """A figure without a background, whose black is the page's ink; the same figure gives the same text."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "keras_griffin"}):
        # Dots an inch count for images alone.
        metadata = {"Date": None, "Creator": None}
        figure.savefig(file, format="svg", dpi=200, bbox_inches="tight", transparent=True, metadata=metadata)
    return in_ink(file.getvalue().decode())


def in_ink(svg: str) -> str:
    """An SVG of matplotlib's without its white background, and with the page's ink in place of black."""
    if _STYLE in svg:
        return svg
    # matplotlib leaves text in the default colour, and writes black strokes as #000000.
    svg = svg.replace('style="fill: #ffffff"/>', 'style="fill: none"/>')
    lines = (line.rstrip() for line in svg.replace("#000000", "currentColor").splitlines())
    return "\n".join(lines).replace("<defs>", f"{_STYLE}<defs>", 1) + "\n"
