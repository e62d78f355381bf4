"""Plots of a model's memory; each function draws on axes and returns them.

They need matplotlib, which the extra `viz` installs. Without `axes` each draws on a new figure, `axes.figure`, outside
pyplot: it affects none of your plots and needs no display.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_griffin.checks import Rule, checked, one_of
from keras_griffin.inspection.decode_cost import decode_cost
from keras_griffin.inspection.decode_measurement import DecodingMeasurement
from keras_griffin.inspection.devices import Device
from keras_griffin.models import GriffinConfig
from keras_griffin.models.trace import Trace

#: `matplotlib.axes.Axes`, if that is installed.
Axes = Any
#: The colours of lines, safe for the colour-blind (Okabe and Ito 2008), and the colour map of numbers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHADES = "viridis"
#: Every plot shows a family of models or units in one colour; a variant has one near it. Hawk's unit has that of Hawk.
FAMILY_COLOURS = {
    **{"Griffin": "#0072B2", "Hawk": "#009E73", "MQA": "#D55E00", "local MQA": "#E69F00"},
    **{"Hawk, ring": "#66A61E"},
    **{"RGLRU": "#009E73", "RGLRU, ring": "#66A61E", "CGLRU": "#CC79A7"},
    **{"LSTM": "#56B4E9", "GRU": "#A6761D", "Mamba": "#7570B3", "LRU": "#999933"},
}
#: Replacements for invisible characters; `$` is escaped so that text is never typeset as a formula.
_SIGNS = str.maketrans({" ": "·", "\n": "↵", "\t": "→", "$": r"\$"})
#: The contexts of a cost plot.
CONTEXTS = tuple(2**n for n in range(8, 18))
#: Quantities that are both predicted and measured, and all that `decode_cost` predicts as a number for every context.
MEASURED = ("seconds_per_step", "tokens_per_second", "cache_bytes")
PREDICTED = (*MEASURED, "parameter_bytes", "largest_batch", "memory_bound_batch")
#: The largest number of tokens whose texts label an axis.
MOST_LABELS = 80


def plot_half_lives(trace: Trace, axes: Axes | None = None) -> Axes:
    """How many tokens each channel of each recurrence remembers: half-lives, sorted, one line per layer.

        n = ln 2 / -mean_t ln a_t

    Args:
        trace: of `model.trace`.
        axes: where to draw; None for a new figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    axes = _axes("plot_half_lives", axes)
    for colour, (path, layer) in zip(_shades(len(trace.layers)), trace.layers.items(), strict=True):
        lives = np.sort(layer.half_lives)
        axes.plot((np.arange(len(lives)) + 0.5) / len(lives), lives, color=colour, label=_short(path))
    axes.axhline(len(trace.token_ids), color="gray", linestyle=":", label="length of the text")
    axes.set(yscale="log", xlabel="share of the channels", ylabel="half-life, tokens")
    axes.set_title("How long channels remember")
    axes.legend(fontsize="small")
    return axes


def plot_gate(
    trace: Trace,
    layer: str | None = None,
    gate: str = "recurrence_gate",
    tokens: Sequence[str] | None = None,
    axes: Axes | None = None,
) -> Axes:
    """One gate of one recurrence over a text: a column per token, a row per channel, the most open first.

    Args:
        trace: of `model.trace`.
        layer: the path of a recurrence; None for the first.
        gate: `"recurrence_gate"` or `"input_gate"`.
        tokens: the text of each token, for the axis if there are few.
        axes: where to draw; None for a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no such layer or gate.
    """
    path = next(iter(trace.layers), None) if layer is None else layer
    values = trace.layers[checked("plot_gate", one_of(trace.layers), layer=path)].values
    checked("plot_gate", one_of([name for name in values if name.endswith("_gate")]), gate=gate)
    axes = _axes("plot_gate", axes)
    rows = values[gate].T
    image = axes.imshow(
        rows[np.argsort(-rows.mean(axis=1))], aspect="auto", interpolation="nearest", vmin=0, vmax=1, cmap=SHADES
    )
    axes.figure.colorbar(image, ax=axes, label="open")
    _label("plot_gate", axes, "x", tokens, rows.shape[1])
    axes.set(ylabel="channel, the most open first", title=f"{gate.replace('_', ' ')} of {_short(path)}")
    return axes


def plot_state_norm(trace: Trace, axes: Axes | None = None) -> Axes:
    """The root mean square of each recurrence's state h_t over a text.

    Args:
        trace: of `model.trace`.
        axes: where to draw; None for a new figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    axes = _axes("plot_state_norm", axes)
    for colour, (path, layer) in zip(_shades(len(trace.layers)), trace.layers.items(), strict=True):
        axes.plot(layer.state_norm, color=colour, label=_short(path))
    axes.set(xlabel="token", ylabel="root mean square of h", title="The size of the state", ylim=(0, None))
    axes.legend(fontsize="small")
    return axes


def plot_attention(weights: np.ndarray, tokens: Sequence[str] | None = None, axes: Axes | None = None) -> Axes:
    """The attention weights, averaged over heads: a row per query, a column per key.

    Args:
        weights: `(N, T, T)`, from `attention_map`, or `(T, T)`, one head.
        tokens: the text of each token, for the axes if there are few.
        axes: where to draw; None for a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the weights have another shape.
    """
    weights = np.asarray(weights)
    if weights.ndim not in (2, 3) or weights.shape[-1] != weights.shape[-2]:
        raise ValueError(f"plot_attention: weights must be (N, T, T) or (T, T). Got shape {weights.shape}.")
    axes = _axes("plot_attention", axes)
    mean = weights if weights.ndim == 2 else weights.mean(axis=0)
    # The root makes small weights visible.
    image = axes.imshow(np.sqrt(mean), vmin=0, vmax=1, cmap=SHADES, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="root of the weight")
    _label("plot_attention", axes, "x", tokens, len(mean))
    _label("plot_attention", axes, "y", tokens, len(mean))
    axes.set(title="What each token attends to", xlabel=axes.get_xlabel() or "key", ylabel="query")
    return axes


def plot_influence(influences: np.ndarray, tokens: Sequence[str] | None = None, axes: Axes | None = None) -> Axes:
    """How much each token still affects the prediction of the next one.

    Args:
        influences: `(T,)`, from `influence`.
        tokens: the text of each token, for the axis if there are few.
        axes: where to draw; None for a new figure.

    Raises:
        ImportError: matplotlib is not installed.
    """
    axes = _axes("plot_influence", axes)
    axes.plot(influences, color=COLOURS[0], marker="." if len(influences) <= MOST_LABELS else None)
    axes.set(yscale="log", ylabel="gradient of the logit", title="What the prediction still depends on")
    _label("plot_influence", axes, "x", tokens, len(influences))
    return axes


def plot_decode_cost(
    configs: dict[str, GriffinConfig],
    contexts: Iterable[int] = CONTEXTS,
    quantity: str = "seconds_per_step",
    batch_size: int = 1,
    device: str | Device = "tpu_v5e",
    axes: Axes | None = None,
    *,
    dtype: str = "bfloat16",
    measured: dict[str, DecodingMeasurement] | None = None,
) -> Axes:
    """How the time or memory of a decoding step grows with the context: predicted by `decode_cost`, and measured.

    Args:
        configs: by the name in the legend.
        contexts: numbers of tokens before the step.
        quantity: a number of `DecodeCost`: `"seconds_per_step"`, `"cache_bytes"`, `"tokens_per_second"` and so on; with
            `measured`, one of these three.
        batch_size: B, rows decoded at once.
        device: a name from `DEVICES`, or a `Device`.
        axes: where to draw; None for a new figure.
        dtype: of parameters and caches; see `decode_cost`.
        measured: results of `measure_decoding`, by the name in the legend; drawn dashed, in the colour of the config
            with that name, if any. A family's name has its colour.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: as for `decode_cost`; configs or measured is not a dict by name; the quantity is not one of those
            above; or the batch size is not the measured one.
    """
    axes, contexts = _axes("plot_decode_cost", axes), list(contexts)
    measured = {} if measured is None else measured
    checked("plot_decode_cost", _by_name(GriffinConfig), configs=configs)
    checked("plot_decode_cost", _by_name(DecodingMeasurement), measured=measured)
    kind, allowed = ("measured", MEASURED) if measured else ("predicted", PREDICTED)
    rule = Rule(f"one of the {kind} {', '.join(allowed)}", lambda value: value in allowed)
    checked("plot_decode_cost", rule, quantity=quantity)
    for name, measurement in measured.items():
        if measurement.batch_size != batch_size:
            raise ValueError(
                "plot_decode_cost: batch_size must be that of the measurement. "
                f"Got {batch_size}, and {measurement.batch_size} of {name!r}."
            )
    names = list(dict.fromkeys([*configs, *measured]))
    for colour, name in zip(_shades(len(names)), names, strict=True):
        colour = FAMILY_COLOURS.get(name, colour)
        if name in configs:
            costs = [
                decode_cost(configs[name], batch_size, context, device=device, dtype=dtype) for context in contexts
            ]
            label = f"{name}, predicted" if name in measured else name
            axes.plot(contexts, [getattr(cost, quantity) for cost in costs], color=colour, marker=".", label=label)
        if name in measured:
            x, y = measured[name].contexts, getattr(measured[name], quantity)
            axes.plot(x, y, color=colour, marker="o", linestyle="--", label=f"{name}, measured")
    axes.set(xscale="log", yscale="log", xlabel="context, tokens", ylabel=quantity.replace("_", " "))
    axes.set_title("What a longer context costs")
    axes.legend(fontsize="small")
    return axes


def _by_name(kind):
    """The rule for a dict of `kind` by name: one of them alone is an easy mistake."""
    return Rule(
        f"a dict from names to values of {kind.__name__}",
        lambda values: isinstance(values, dict) and all(isinstance(value, kind) for value in values.values()),
    )


def plot_gate_behaviour(decay: float = 0.9, exponent: float = 8.0, axes: Axes | None = None) -> Axes:
    """The factors of the past and of the input as functions of the gate: Figure 7 of the paper.

        h_t = alpha(r) h_(t-1) + beta(r) x_t

        RG-LRU     alpha = a^(c r)           beta = sqrt(1 - alpha^2)
        GRU        alpha = 1 - r             beta = r
        Mamba      alpha = (1 - r)^A         beta = (1 - alpha) / A,  with A = a
        LRU        alpha = a                 beta = sqrt(1 - a^2)

    Args:
        decay: a, from 0 to 1.
        exponent: c.
        axes: where to draw; None for a new figure.

    Raises:
        ImportError: matplotlib is not installed.

    Reference: De et al. 2024 (arXiv 2402.19427), appendix A, figure 7.
    """
    axes = _axes("plot_gate_behaviour", axes)
    gate = np.linspace(0.0, 1.0, 201)
    rg_lru, mamba, lru = decay ** (exponent * gate), (1 - gate) ** decay, np.full_like(gate, decay)
    factors = {
        "RG-LRU": (rg_lru, np.sqrt(1 - rg_lru**2)),
        "GRU": (1 - gate, gate),
        "Mamba": (mamba, (1 - mamba) / decay),
        "LRU": (lru, np.sqrt(1 - lru**2)),
    }
    for name, (past, new) in factors.items():
        colour = FAMILY_COLOURS[name.replace("-", "")]
        axes.plot(gate, past, color=colour, label=f"{name}: the past")
        axes.plot(gate, new, color=colour, linestyle="--", label=f"{name}: the input")
    axes.set(xlabel="gate r", ylabel="factor", title=f"What a gate does, a = {decay:g}")
    axes.legend(fontsize="small", ncols=2)
    return axes


def _axes(function_name, axes):
    if axes is not None:
        return axes
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"{function_name}: matplotlib must be installed: pip install 'keras-griffin[viz]'."
        ) from error
    return Figure(figsize=(7, 4), layout="constrained").subplots()


def _shades(number):
    """`number` colours: distinct ones if there are enough, otherwise from dark to light."""
    if number <= len(COLOURS):
        return COLOURS[:number]
    from matplotlib import colormaps

    return colormaps[SHADES](np.linspace(0.0, 0.9, number))


def _short(path):
    """`block_3` for `block_3/mixer/rg_lru`."""
    return path.partition("/")[0]


def _label(function_name, axes, axis, tokens, length):
    if tokens is not None and len(tokens) != length:
        raise ValueError(
            f"{function_name}: tokens must have one text for each position. Got {len(tokens)} for {length}."
        )
    if tokens is None or length > MOST_LABELS:
        axes.set(**{f"{axis}label": "token"})
        return
    shown = [token.translate(_SIGNS) for token in tokens]
    shown = ["".join(sign if sign.isprintable() else "□" for sign in token) for token in shown]
    # Beside one another, words would overlap.
    angle = 90 if axis == "x" and max(map(len, shown), default=0) > 1 else 0
    size = 6 if length > 40 else 8
    getattr(axes, f"set_{axis}ticks")(range(length), shown, fontsize=size, family="monospace", rotation=angle)
