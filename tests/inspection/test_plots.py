"""Pictures: what they show is what was measured."""

import functools
import sys

import numpy as np
import pytest

from keras_griffin import inspection
from keras_griffin.inspection import (
    plot_attention,
    plot_gate,
    plot_gate_behaviour,
    plot_half_lives,
    plot_influence,
)
from keras_griffin.models import Griffin, GriffinConfig

pytestmark = pytest.mark.any_backend
pytest.importorskip("matplotlib")

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=3, num_heads=2, window=4, num_gate_blocks=2)
TOKENS = np.random.default_rng(0).integers(256, size=12)


@functools.cache
def trace():
    return Griffin(CONFIG).trace(TOKENS)


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.get_lines()}


def test_half_lives_are_sorted_one_line_for_each_layer():
    drawn = lines(plot_half_lives(trace()))
    for path, layer in trace().layers.items():
        np.testing.assert_array_equal(drawn[path.partition("/")[0]], np.sort(layer.half_lives))
    assert set(drawn["length of the text"]) == {12}


def test_a_gate_has_a_column_for_each_token_and_the_most_open_channel_first():
    words = [*"abcdefghij", "$x$", " \n\t\0"]
    axes = plot_gate(trace(), gate="input_gate", tokens=words)
    (image,) = axes.get_images()
    gate = trace().layers["block_0/mixer/rg_lru"].values["input_gate"].T
    np.testing.assert_array_equal(image.get_array(), gate[np.argsort(-gate.mean(axis=1))])
    assert [label.get_text() for label in axes.get_xticklabels()][-2:] == [r"\$x\$", "·↵→□"]
    axes.figure.canvas.draw()


def test_figure_7():
    drawn = lines(plot_gate_behaviour(0.9))
    past, inputs = drawn["RG-LRU: the past"], drawn["RG-LRU: the input"]
    assert past[0] == 1 and past[-1] == pytest.approx(0.9**8)
    np.testing.assert_allclose(past**2 + inputs**2, 1.0)
    for name in ("GRU", "Mamba"):
        # Both can forget all and ignore all.
        assert (drawn[f"{name}: the past"][[0, -1]] == [1, 0]).all() and drawn[f"{name}: the input"][0] == 0
    assert set(drawn["LRU: the past"]) == {0.9}


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"^plot_gate: layer must be one of block_0/mixer/rg_lru, .* Got 'block_9'\.$"):
        plot_gate(trace(), "block_9")
    with pytest.raises(ValueError, match=r"^plot_gate: gate must be one of input_gate, recurrence_gate\. Got 'state'"):
        plot_gate(trace(), gate="state")
    with pytest.raises(ValueError, match=r"^plot_attention: weights must be \(N, T, T\) .* Got shape \(3, 4\)\.$"):
        plot_attention(np.zeros((3, 4)))
    with pytest.raises(
        ValueError, match=r"^plot_influence: tokens must have one text for each position\. Got 1 for 3\.$"
    ):
        plot_influence(np.ones(3), tokens=["a"])


@pytest.mark.parametrize("name", [name for name in inspection.__all__ if name.startswith("plot_")])
def test_without_matplotlib_one_sentence_says_so(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = {"plot_attention": [np.eye(3)], "plot_influence": [np.ones(3)], "plot_decode_cost": [{}]}
    arguments["plot_gate_behaviour"] = []
    sentence = rf"^{name}: matplotlib must be installed: pip install 'keras-griffin\[viz\]'\.$"
    with pytest.raises(ImportError, match=sentence):
        getattr(inspection, name)(*arguments.get(name, [trace()]))
