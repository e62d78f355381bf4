"""Images and signals as sequences, a number a step, from packages that ship or generate them."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.data.extra import package
from experiments.models.sequence_models import Part, Task, rows_at_random

#: Where Debian's package dataset-fashion-mnist has its files.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10


def available() -> list[str]:
    """The sets that this machine can have: Fashion-MNIST only where its files are."""
    return [name for name in SETS if name != "Fashion-MNIST" or FASHION_MNIST.is_dir()]


def digits() -> list[tuple[np.ndarray, np.ndarray]]:
    """Handwritten digits of 8 by 8 pixels, row by row: 1,197 rows to train on, 300 and 300."""
    found = package("sklearn.datasets", "scikit-learn").load_digits()
    order = np.random.default_rng(0).permutation(len(found.data))
    return [(found.data[rows], found.target[rows]) for rows in np.split(order, [-600, -300])]


def mnist_1d() -> list[tuple[np.ndarray, np.ndarray]]:
    """Signals of 40 steps made from ten templates: 3,500 rows to train on, 500 and 1,000."""
    data = package("mnist1d.data", "mnist1d")
    found = data.make_dataset(data.get_dataset_args())
    rows, classes = np.split(found["x"], [3500]), np.split(found["y"], [3500])
    return [*zip(rows, classes, strict=True), (found["x_test"], found["y_test"])]


def fashion_mnist() -> list[tuple[np.ndarray, np.ndarray]]:
    """Clothes, every second row and column of 28 by 28 pixels: 59,000 rows to train on, 1,000 and 10,000."""
    parts = []
    for part in ("train", "t10k"):
        images, classes = (
            gzip.decompress((FASHION_MNIST / f"{part}-{kind}-ubyte.gz").read_bytes())
            for kind in ("images-idx3", "labels-idx1")
        )
        pixels = np.frombuffer(images, "uint8", offset=16).reshape(-1, 28, 28)[:, ::2, ::2]
        parts.append((pixels.reshape(len(pixels), -1), np.frombuffer(classes, "uint8", offset=8)))
    (rows, classes), test = parts
    return [(rows[:-1000], classes[:-1000]), (rows[-1000:], classes[-1000:]), test]


def bumps() -> list[tuple[np.ndarray, np.ndarray]]:
    """A bump among ten steps, whose place is the class: three times 20 rows, which need no package."""
    return [(np.eye(CLASSES)[classes], classes) for classes in np.random.default_rng(0).integers(CLASSES, size=(3, 20))]


#: Functions that return rows `(N, T)` and classes `(N,)` to train on, to validate and to test.
SETS: dict[str, Callable[[], list[tuple[np.ndarray, np.ndarray]]]] = {
    "bumps": bumps,
    "digits": digits,
    "MNIST-1D": mnist_1d,
    "Fashion-MNIST": fashion_mnist,
}


@functools.cache
def task(name: str) -> Task:
    """The task to classify the rows of a set, read or made once a process."""
    parts = SETS[name]()
    mean, deviation = parts[0][0].mean(), parts[0][0].std()
    train, validation, test = (
        Part(
            ((rows - mean) / deviation).astype("float32")[..., None],
            classes.astype("int32"),
            np.ones(len(classes), "float32"),
        )
        for rows, classes in parts
    )
    return Task(functools.partial(rows_at_random, train), validation, test, pool="mean", num_classes=CLASSES)
