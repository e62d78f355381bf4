"""Plot the loss of a run."""

import csv
import importlib.util
import os
from collections.abc import Mapping


def draw_loss_curve(log_path: str | os.PathLike, image_path: str | os.PathLike, levels: Mapping[str, float]) -> bool:
    """Draw `bits` and `val_bits` over the epochs of a log of `CSVLogger`, with horizontal lines at the `levels`.

    Returns False without drawing if matplotlib, which the extra `viz` installs, is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    # Without pyplot, the user's plotting state is untouched and no display is needed.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with open(log_path, newline="", encoding="utf-8") as log:
        rows = list(csv.DictReader(log))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for column, label in {"bits": "training", "val_bits": "validation"}.items():
        axes.plot(epochs, [float(row[column]) for row in rows], marker="o", label=label)
    for style, (name, level) in zip(("--", ":", "-."), levels.items(), strict=False):
        axes.axhline(level, color="gray", linestyle=style, label=f"{name}, {level:.2f}")
    axes.margins(y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"Validation: {float(rows[-1]['val_bits']):.2f} bits per byte")
    axes.set_xlabel("epoch")
    axes.set_ylabel("bits per byte")
    axes.legend()
    figure.savefig(image_path, dpi=150)
    return True
