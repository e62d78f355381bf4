"""Draw the figures of the documentation, into docs/figures.

    python scripts/figures.py

What they show is computed here, or measured: then it is in benchmarks/results, whose files are read.
"""

import csv
import itertools
import json
import re
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import EngFormatter
from matplotlib.transforms import Bbox

from keras_griffin.inspection.plots import COLOURS, FAMILY_COLOURS, plot_gate_behaviour
from keras_griffin.inspection.svg import svg_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
FIGURES = ROOT / "docs/figures"
#: Inches of a figure that stands beside another, and of one as wide as a page.
SIZE, WIDE = (5.2, 3.3), 7.3
BLUE = FAMILY_COLOURS["Griffin"]


def main():
    """Draw each."""
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": "medium"})
    FIGURES.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        figure = draw()
        (FIGURES / f"{name}.svg").write_text(svg_of(figure), "utf-8")
        plt.close(figure)


def training():
    """Bits per byte over the half hour of `python -m keras_griffin train`."""
    folder = RESULTS / "standard_library_30_minutes"
    result = json.loads((folder / "result.json").read_text("utf-8"))
    rows = list(csv.DictReader((folder / "log.csv").open(encoding="utf-8")))
    megabytes = (np.arange(len(rows)) + 1) * result["bytes_per_second"] * result["seconds"] / len(rows) / 1e6
    figure, axes = plt.subplots(figsize=SIZE)
    axes.plot(megabytes, [float(row["val_bits"]) for row in rows], "o-", color=BLUE, label="Griffin, held-out files")
    axes.plot(megabytes, [float(row["bits"]) for row in rows], color=BLUE, alpha=0.4, label="Griffin, training")
    for name, style in (("zlib", ":"), ("lzma", "--")):
        axes.axhline(result[name], color="gray", linestyle=style, label=name)
    axes.set(
        xlabel="text read, MB",
        ylabel="bits per byte",
        xlim=(0, None),
        title=f"Unseen code: {result['bits_per_byte']:.2f} bits a byte; lzma needs {result['lzma']:.2f}",
    )
    axes.legend(fontsize="small", frameon=False)
    return figure


def memory():
    """What decoding keeps, by the tokens read, as benchmarks/memory.py measured it."""
    text = (RESULTS / "memory-cpu-2-cores.md").read_text("utf-8")
    rows = re.findall(r"^\| (Griffin|MQA) \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    figure, axes = plt.subplots(figsize=SIZE)
    last = {}
    for family, label in (("MQA", "Transformer (MQA)"), ("Griffin", "Griffin")):
        tokens, size = zip(
            *[(int(n.replace(",", "")), int(b.replace(",", "")) / 1e6) for f, n, b in rows if f == family], strict=True
        )
        axes.plot(tokens, size, "o-", color=FAMILY_COLOURS[family], label=label)
        last[family] = size[-1]
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="tokens read",
        ylabel="state of one row, MB",
        title=f"At {tokens[-1]:,} tokens MQA's state is {last['MQA'] / last['Griffin']:,.0f} times Griffin's",
    )
    axes.legend(fontsize="small", frameon=False)
    return figure


def forgetting():
    """How much of an input channels of different decays still hold."""
    figure, axes = plt.subplots(figsize=SIZE)
    steps = np.geomspace(1, 10_000, 200)
    for decay, colour in zip((0.9, 0.99, 0.999), COLOURS, strict=False):
        half_life = np.log(2) / -np.log(decay)
        axes.plot(steps, decay**steps, color=colour)
        axes.plot(half_life, 0.5, "o", color=colour)
        axes.annotate(f"$a$ = {decay}\nhalf-life {half_life:.0f}", (half_life * 1.15, 0.53), color=colour, fontsize=8.5)
    axes.set(
        xscale="log",
        xlabel="steps since an input",
        ylabel="share of it in the state",
        title="Each channel forgets at the rate of its decay $a$",
    )
    return figure


def gates():
    """The paper's Figure 7: the factors of the past above those of the input, and each line's name beside it."""
    figure, panels = plt.subplots(2, 3, figsize=(WIDE, 4.6), sharex=True, sharey="row", layout="constrained")
    for column, decay in zip(panels.T, (0.5, 0.9, 0.99), strict=True):
        drawn = plot_gate_behaviour(decay, axes=plt.figure().subplots())
        for axes, what in zip(column, ("past", "input"), strict=True):
            for line in drawn.get_lines():
                name, of = line.get_label().split(": the ")
                if of == what:
                    axes.plot(*line.get_data(), color=line.get_color(), label=name)
            axes.grid(alpha=0.3)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        plt.close(drawn.figure)
        column[0].set_title(f"$a$ = {decay}")
        column[1].set_xlabel("gate $r$")
    panels[0, 0].set_ylabel("weight of the past")
    panels[1, 0].set_ylabel("weight of the input")
    figure.suptitle(
        "With $a$ near 1 no gate makes an RG-LRU forget; a GRU and Mamba forget at $r$ = 1", fontsize="medium"
    )
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def blocks():
    """Griffin's pattern of blocks, and what stands in each."""
    figure = plt.figure(figsize=(WIDE, 3.9))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10.2), ylim=(0, 5))
    axes.axis("off")
    for left, width, title in ((0.1, 2.2, "Griffin"), (3.0, 2.6, "residual block"), (6.4, 3.7, "recurrent block")):
        axes.text(left + width / 2, 4.75, title, ha="center", fontsize=10, weight="bold")
    stack = ["embedding", "recurrent", "recurrent", "local attention", "recurrent", "...", "RMSNorm, logits"]
    column(axes, 0.1, 2.2, stack, {"recurrent": RECURRENT, "local attention": (FAMILY_COLOURS["local MQA"], 0.3)})
    parts = [
        "RMSNorm",
        "recurrent, or attention",
        "add the block's input",
        "RMSNorm",
        "gated MLP",
        "add the MLP's input",
    ]
    column(axes, 3.0, 2.6, parts, {"recurrent, or attention": RECURRENT, "gated MLP": ("gray", 0.2)})
    # Two branches of one input, multiplied.
    column(axes, 6.4, 1.9, ["Linear", "convolution", "RG-LRU"], {"RG-LRU": (RECURRENT[0], 0.5)}, above=True)
    column(axes, 8.6, 1.5, ["Linear", "GeLU"], {})
    arrow(axes, 9.35, bottom_of(1) + HEIGHT, bottom_of(3))
    column(axes, 6.4, 3.7, ["multiply", "Linear"], {}, first=3)
    return figure


#: The shade of a recurrent block, which a dark page shows through.
RECURRENT = FAMILY_COLOURS["Hawk"], 0.25
#: Of the boxes of a column.
HEIGHT, STEP = 0.44, 0.66


def bottom_of(place):
    """Where the box of a place in a column begins."""
    return 0.1 + STEP * place


def column(axes, left, width, names, fills, first=0, above=False):
    """Boxes over one another, an arrow from each to the next, and beyond the last if something stands above it."""
    for place, name in enumerate(names, start=first):
        shape = FancyBboxPatch((left, bottom_of(place)), width, HEIGHT, "round,pad=0.02", linewidth=0.8)
        shape.set(facecolor=fills.get(name, "none"), edgecolor="gray")
        axes.add_patch(shape)
        axes.text(left + width / 2, bottom_of(place) + HEIGHT / 2, name, ha="center", va="center", fontsize=8.5)
        if above or name != names[-1]:
            arrow(axes, left + width / 2, bottom_of(place) + HEIGHT, bottom_of(place + 1))


def arrow(axes, x, start, end):
    """An arrow upwards."""
    axes.annotate("", (x, end), (x, start), arrowprops={"arrowstyle": "->", "color": "gray", "linewidth": 0.8})


#: The families of the lineage in the order of their lanes, and their colours; those of Hawk, Mamba and MQA have theirs.
FAMILIES = {
    "gated recurrences": FAMILY_COLOURS["Hawk"],
    "state spaces": FAMILY_COLOURS["Mamba"],
    "long convolutions": COLOURS[5],
    "linear attention": COLOURS[3],
    "delta rule": COLOURS[4],
    "attention": FAMILY_COLOURS["MQA"],
}
GATED, SPACES, CONVOLUTIONS, LINEAR, DELTA, ATTENTION = FAMILIES


class System(NamedTuple):
    """A line of the lineage."""

    year: int
    family: str
    #: From the middle of its family's lane, in lanes.
    shift: float
    name: str
    #: Its names in a pattern; none for an ancestor.
    rows: tuple[str, ...]
    #: The names of those from which it descends.
    ancestors: tuple[str, ...] = ()


SYSTEMS = (
    System(1960, SPACES, 0, "Kalman's state spaces", ()),
    System(1960, DELTA, 0, "Widrow and Hoff's rule", ()),
    System(1997, GATED, 0.3, "LSTM", ()),
    System(2016, GATED, 0, "QRNN", ("qrnn",), ("LSTM",)),
    System(2017, ATTENTION, 0, "Transformer", ()),
    System(2017, GATED, -0.3, "GILR, LS-LSTM", ("gilr", "ls_lstm"), ("QRNN",)),
    System(2019, ATTENTION, 0.6, "Sparse Transformer", ("sparse_mqa",), ("Transformer",)),
    System(2019, ATTENTION, 0.3, "multi-query attention", ("global_mqa",), ("Transformer",)),
    System(2020, ATTENTION, 0.3, "sliding window", ("local_mqa",), ("multi-query attention",)),
    System(2020, LINEAR, 0, "linear attention", ("linear_attention",), ("Transformer",)),
    System(2021, DELTA, 0, "DeltaNet", (), ("Widrow and Hoff's rule", "linear attention")),
    System(2021, LINEAR, -0.35, "AFT", ("aft",), ("Transformer",)),
    System(2021, SPACES, 0, "S4", ("s4",), ("Kalman's state spaces",)),
    System(2022, SPACES, 0, "S4D", ("s4d",), ("S4",)),
    System(2022, SPACES, -0.3, "S5", ("s5",), ("S4",)),
    System(2022, SPACES, 0.3, "H3", ("h3",), ("S4D", "linear attention")),
    System(2023, CONVOLUTIONS, 0, "Hyena", ("hyena",), ("H3",)),
    System(2023, SPACES, -0.3, "LRU", ("lru",), ("S5",)),
    System(2023, LINEAR, -0.35, "RWKV-4", ("rwkv4", "rwkv4_channel"), ("AFT",)),
    System(2023, LINEAR, 0.3, "RetNet", ("retention",), ("linear attention",)),
    System(2023, LINEAR, 0.6, "GateLoop", ("gate_loop",), ("RetNet",)),
    System(2023, SPACES, 0, "Mamba", ("mamba", "selective_ssm"), ("S4D", "H3")),
    System(2023, LINEAR, 0.3, "GLA", ("gated_linear_attention",), ("RetNet",)),
    System(2024, GATED, 0, "Griffin", ("recurrent", "rg_lru", "cg_lru"), ("LRU", "GILR, LS-LSTM", "sliding window")),
    System(2024, LINEAR, -0.3, "xLSTM", ("mlstm",), ("LSTM", "linear attention")),
    System(2024, LINEAR, 0, "Mamba-2", ("mamba2",), ("Mamba", "linear attention")),
    System(2024, GATED, -0.3, "minGRU, minLSTM", ("min_gru", "min_lstm"), ("GILR, LS-LSTM",)),
    System(2024, DELTA, 0, "Gated DeltaNet", ("gated_delta_net",), ("DeltaNet", "Mamba-2")),
)


def lineage():
    """Who descends from whom: a lane for each family, a line for each system, and time downwards."""
    lane, line, labels = 0.34, 0.2, 2.62
    figure = plt.figure(figsize=(4.5, line * len(SYSTEMS) + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 4.5), ylim=(line * len(SYSTEMS) + 0.5, 0))
    axes.axis("off")
    for number, (family, colour) in enumerate(FAMILIES.items()):
        x, y = 0.06 + 1.45 * (number % 3), 0.06 + 0.2 * (number // 3)
        axes.plot(x, y, "o", color=colour, markersize=6)
        axes.text(x + 0.1, y, family, va="center", fontsize=8.5)
    places, year = {}, None
    for number, system in enumerate(SYSTEMS):
        x, y = 0.62 + lane * (list(FAMILIES).index(system.family) + system.shift), 0.55 + line * number
        colour, rows = FAMILIES[system.family], ", ".join(system.rows)
        for ancestor in system.ancestors:
            axes.add_patch(descent(*places[ancestor], x, y, 3.4 * line, edgecolor=colour))
        axes.plot((x, labels - 0.05), (y, y), ":", color="gray", linewidth=0.6)
        axes.plot(x, y, "o", color=colour, markersize=6, fillstyle="full" if rows else "none", zorder=3)
        if system.year != year:
            axes.text(0, y, str(system.year), va="center", fontsize=8.5, color="gray")
        label = axes.text(labels, y, rows, va="center", fontsize=8, family="monospace")
        if re.sub(r"\W", "_", system.name.lower()) != rows:
            beside = (label, (1, 0.5), 5) if rows else ("data", (labels, y), 0)
            axes.annotate(
                system.name,
                *(beside[1], (beside[2], 0), beside[0], "offset points"),
                va="center",
                fontsize=8,
                color="gray",
            )
        places[system.name], year = (x, y), system.year
    return figure


def descent(left, top, x, y, bend, **style):
    """A line down from a dot, which bends to another within a height."""
    start = max(top, y - bend)
    middle = (start + y) / 2
    points = [(left, top), (left, start), (left, middle), (x, middle), (x, y)]
    return PathPatch(Curve(points, [1, 2, 4, 4, 4]), fill=False, alpha=0.6, linewidth=1.2, **style)


#: The rows of a comparison that are patterns of several mixers.
HYBRIDS = ("griffin", "samba", "jamba")


def measured(file):
    """By row of a comparison, the mean of each of its measures; without the units in Griffin's block."""
    found = {}
    for line in csv.DictReader((RESULTS / file).open(encoding="utf-8")):
        for measure in ("bits", "copying", "recall", "state_bytes", "tokens_per_second"):
            if line[measure] and ":" not in line["row"]:
                found.setdefault(line["row"], {}).setdefault(measure, []).append(float(line[measure]))
    return {row: {measure: float(np.mean(of)) for measure, of in kept.items()} for row, kept in found.items()}


def speed_and_bits():
    """Bits per byte against training speed, as benchmarks/lineage.py measured them."""
    figure, axes = plt.subplots(figsize=(4.7, 5.2))
    scatter(axes, measured("lineage-jax-cpu-1-core.csv"), "tokens_per_second", "bits")
    axes.set(xlabel="tokens a second, training", ylabel="bits per byte after 500,000 bytes")
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title("Further down has learnt more, further right is faster")
    label_points(axes)
    return figure


def recall_and_state():
    """Recall and copying against the size of the state, as benchmarks/lineage.py measured them."""
    figure, panels = plt.subplots(2, 1, figsize=(4.7, 9.4), layout="constrained", sharex=True)
    rows = measured("lineage-small-jax-cpu-1-core.csv")
    for axes, measure, what in (
        (panels[0], "recall", "recall of 4 pairs in 32 steps, %"),
        (panels[1], "copying", "copying 4 tokens of 32, %"),
    ):
        scatter(axes, rows, "state_bytes", measure, 100)
        axes.set(xscale="log", ylabel=what)
        axes.xaxis.set_major_formatter(EngFormatter("B"))
    panels[1].set_xlabel("bytes of a row's state at 2,048 tokens")
    for axes in panels:
        label_points(axes)
    return figure


def scatter(axes, rows, across, up, unit=1):
    """A dot for each row that has both measures, in the colour of its family, with its name to be placed."""
    colours = {row: FAMILIES[system.family] for system in SYSTEMS for row in system.rows}
    colours["griffin"] = BLUE
    axes.names = []
    for row, values in rows.items():
        if across in values and up in values:
            x, y, colour = values[across], unit * values[up], colours.get(row, "gray")
            axes.plot(x, y, "s" if row in HYBRIDS else "o", color=colour, markersize=4.5)
            axes.names.append((row, x, y, colour))
    axes.margins(0.17, 0.06)


def label_points(axes):
    """Write each name beside its dot, or near it with a line, on no other name or dot; crowded dots come first."""
    axes.figure.draw_without_rendering()
    inside, directions = axes.get_window_extent(), [(np.cos(a), np.sin(a)) for a in np.pi / 8 * np.arange(16)]
    style = {"fontsize": 7.5, "family": "monospace", "ha": "center", "va": "center"}
    dots = {name: axes.transData.transform((x, y)) for name, x, y, _ in axes.names}
    taken = [Bbox.from_bounds(*(dot - 5), 10, 10) for dot in dots.values()]

    def room(named):
        return sorted(np.hypot(*(dots[named[0]] - dot)) for dot in dots.values())[3]

    for name, x, y, colour in sorted(axes.names, key=room):
        text = axes.text(x, y, name, **style)
        size = np.array(text.get_window_extent().size) * (1.06, 1) + 4
        text.remove()
        # A line to the name starts among the dots that touch this one.
        others = [box for box in taken if not box.contains(*dots[name])]

        def badness(place, dot=dots[name], size=size, others=others):
            distance, direction = place
            shift = direction * (size / 2 + 5 + distance)
            line, box = Curve([dot, dot + shift]), Bbox.from_bounds(*(dot + shift - size / 2), *size)
            is_outside = not (inside.contains(*box.min) and inside.contains(*box.max))
            covers = is_outside + box.count_overlaps(taken)
            return distance + 8 * abs(direction[1]) + 40 * sum(map(line.intersects_bbox, others)) + 1e3 * covers

        distance, direction = min(itertools.product(range(0, 120, 4), directions), key=badness)
        shift = direction * (size / 2 + 5 + distance)
        taken.append(Bbox.from_bounds(*(dots[name] + shift - size / 2), *size))
        thin = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.7, "shrinkA": 0, "shrinkB": 2}
        shift, thin = shift * 72 / axes.figure.dpi, thin if distance else None
        axes.annotate(name, (x, y), shift, textcoords="offset points", arrowprops=thin, **style)


DRAWINGS = {
    "training": training,
    "memory": memory,
    "forgetting": forgetting,
    "gates": gates,
    "blocks": blocks,
    "lineage": lineage,
    "lineage_speed": speed_and_bits,
    "lineage_recall": recall_and_state,
}


if __name__ == "__main__":
    main()
