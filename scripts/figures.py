"""Draw the figures of the documentation, into docs/figures.

    python scripts/figures.py

What they show is computed here, or measured: then it is in benchmarks/results, whose files are read.
"""

import csv
import json
import re
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

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


DRAWINGS = {"training": training, "memory": memory, "forgetting": forgetting, "gates": gates, "blocks": blocks}


if __name__ == "__main__":
    main()
