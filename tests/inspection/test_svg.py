"""A picture is the same each time, and has no colour of its own where it is black or white."""

import xml.etree.ElementTree as ElementTree

import pytest

from keras_griffin.inspection.svg import INK, LIGHT_INK, svg_of

pytestmark = pytest.mark.any_backend
figures = pytest.importorskip("matplotlib.figure")


def figure():
    drawn = figures.Figure()
    drawn.subplots().plot([1, 2], color="black", label="a line")
    drawn.axes[0].set_title("a title")
    drawn.axes[0].text(1, 1, "on a dark cell", color="white")
    return drawn


def test_black_is_the_page_s_ink_and_the_background_the_page_s():
    svg = svg_of(figure())
    assert svg == svg_of(figure()) and "<dc:date>" not in svg
    ElementTree.fromstring(svg)
    assert "#000000" not in svg and svg.count("<style>") == 1 and INK in svg and LIGHT_INK in svg
    # The text keeps its white, which stands on a colour.
    assert 'style="fill: #ffffff"/>' not in svg and svg.count('<g style="fill: #ffffff"') == 1
