"""The page is whole and asks for nothing from elsewhere; a picture of it is the same each time, in the page's ink."""

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from keras_griffin import backends
from keras_griffin.inspection.page import inspection_page, pictures_of
from keras_griffin.inspection.svg import INK, LIGHT_INK, in_ink, svg_of
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = [pytest.mark.any_backend, pytest.mark.trainable]
Figure = pytest.importorskip("matplotlib.figure").Figure

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=3, num_heads=2, window=4, num_gate_blocks=2)


class Reader(HTMLParser):
    """What a browser would load, and the tags that are still open."""

    def __init__(self, page):
        super().__init__()
        self.sources, self.open, self.titles = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.sources += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("title", "h1"):
            self.titles.append(data)


def test_a_page_of_ten_pictures():
    model = Griffin(CONFIG, tokenizer=ByteTokenizer())
    text = "<b>$x$ & more</b>\n" * 6 + "日本\0"
    html = inspection_page(model, text, title="<Griffin>")
    page = Reader(html)
    assert page.open == [] and page.titles == ["<Griffin>"] * 2
    assert len(page.sources) == 10 and all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert f"on the {backends.active().device_kind().upper()} of this machine, where one more takes" in html


def test_a_transformer_has_no_recurrence_to_show():
    model = MQATransformer(CONFIG.replace(num_layers=1), tokenizer=ByteTokenizer())
    titles = [axes.get_title() for axes, _ in pictures_of(model, model.trace("x"))]
    assert titles[:2] == ["What each token attends to", "What the prediction still depends on"] and len(titles) == 4


def figure():
    drawn = Figure()
    drawn.subplots().plot([1, 2], color="black", label="a line")
    drawn.axes[0].set_title("a title")
    drawn.axes[0].text(1, 1, "on a dark cell", color="white")
    return drawn


def test_black_is_the_page_s_ink_and_the_background_the_page_s():
    svg = svg_of(figure())
    assert svg == svg_of(figure()) == in_ink(svg) and "<dc:date>" not in svg
    ElementTree.fromstring(svg)
    assert "#000000" not in svg and svg.count("<style>") == 1 and INK in svg and LIGHT_INK in svg
    # The text keeps its white, which stands on a colour.
    assert 'style="fill: #ffffff"/>' not in svg and svg.count('<g style="fill: #ffffff"') == 1
