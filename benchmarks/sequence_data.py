"""Four data sets of real-valued sequences from Python packages, as arrays for training and testing.

    pip install pmdarima seglearn && pip install --no-deps aeon

Features have zero mean and unit variance over the training steps. Steps past the end of a row are zeros, which
`keras.layers.Masking` masks, and have no weight.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """Data for training, validation or testing."""

    #: `(N, T, F)`.
    features: np.ndarray
    #: `(N, T, F)` numbers, or classes, `(N,)` or `(N, T)`.
    targets: np.ndarray
    #: `(N,)` or `(N, T)`: zero for targets that do not count.
    weights: np.ndarray


class Data(NamedTuple):
    """A data set with its task."""

    name: str
    task: str
    train: Part
    validation: Part
    test: Part
    #: None for regression.
    num_classes: int | None
    #: The value of an error of 1 in the unit `unit`.
    scale: float
    unit: str

    @property
    def is_labelled_by_step(self):
        """Whether every step has a target."""
        return self.train.targets.ndim > 1


def demand() -> Data:
    """Half-hourly electricity demand of England and Wales, 12 weeks: predict the demand six hours after each step.

    The last two weeks are for testing, the two before for validation.
    """
    from pmdarima.datasets import load_taylor

    series, week, ahead, length = load_taylor(), 336, 12, 192
    mean, deviation = series[: 8 * week].mean(), series[: 8 * week].std()
    series = ((series - mean) / deviation).astype("float32")

    def windows(first, last, stride):
        """Windows with targets in these weeks; the first half of a window is only context."""
        starts = range(max(0, first * week - length // 2 - ahead), last * week - length - ahead + 1, stride)
        features = np.stack([series[s : s + length, None] for s in starts])
        targets = np.stack([series[s + ahead : s + ahead + length, None] for s in starts])
        weights = np.ones(features.shape[:2], "float32")
        weights[:, : length // 2] = 0.0
        return Part(features, targets, weights)

    parts = windows(0, 8, 8), windows(8, 10, length // 2), windows(10, 12, length // 2)
    return Data("demand", "forecast", *parts, None, float(deviation), "MW")


def vowels() -> Data:
    """Two Japanese vowels by nine speakers, 12 coefficients per step, 7 to 29 steps: classify the speaker."""
    folder = _folder_of("aeon") / "datasets" / "data" / "JapaneseVowels"
    train, test = (_read_ts(folder / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST"))
    return _classified("vowels", train, test)


def leaves() -> Data:
    """Outlines of leaves of six species, 427 steps of one number: classify the species."""
    folder = _folder_of("aeon") / "datasets" / "data" / "OSULeaf"
    train, test = (_read_ts(folder / f"OSULeaf_{part}.ts") for part in ("TRAIN", "TEST"))
    return _classified("leaves", train, test)


def exercises(pieces: int = 4, piece: int = 60, rows: int = 300) -> Data:
    """A smartwatch's six sensors during seven exercises, each step labelled with the exercise.

    A row is a stream of pieces of one person's recordings, at 12.5 Hz, of random lengths. A quarter of the persons is
    for testing, another eighth for validation.

    Args:
        pieces: exercises in a row.
        piece: the maximum length of a piece in steps; the minimum is half of it.
        rows: for training.
    """
    from seglearn.datasets import load_watch

    recordings = load_watch()
    persons = np.asarray(recordings["subject"])
    order = np.random.default_rng(0).permutation(np.unique(persons))
    tested, validated = np.split(order[: 3 * len(order) // 8], [len(order) // 4])
    is_test, is_validation = np.isin(persons, tested), np.isin(persons, validated)
    slow = [np.asarray(x, "float32")[: len(x) // 4 * 4].reshape(-1, 4, 6).mean(axis=1) for x in recordings["X"]]
    of_train = np.concatenate([x for x, left_out in zip(slow, is_test | is_validation, strict=True) if not left_out])
    slow = [(x - of_train.mean(axis=0)) / of_train.std(axis=0) for x in slow]

    def streams(chosen, count, seed):
        generator = np.random.default_rng(seed)
        features = np.zeros((count, pieces * piece, 6), "float32")
        targets, weights = np.zeros(features.shape[:2], "int32"), np.zeros(features.shape[:2], "float32")
        for row in range(count):
            person = generator.choice(persons[chosen])
            mine, place = np.flatnonzero(chosen & (persons == person)), 0
            for recording in generator.choice(mine, pieces):
                steps = min(generator.integers(piece // 2, piece + 1), len(slow[recording]))
                start = generator.integers(0, len(slow[recording]) - steps + 1)
                features[row, place : place + steps] = slow[recording][start : start + steps]
                targets[row, place : place + steps] = recordings["y"][recording]
                weights[row, place : place + steps] = 1.0
                place += steps
        return Part(features, targets, weights)

    parts = streams(~is_test & ~is_validation, rows, 1), streams(is_validation, 60, 2), streams(is_test, 150, 3)
    return Data("exercises", "label each step", *parts, int(max(recordings["y"])) + 1, 100.0, "%")


DATA = {"demand": demand, "vowels": vowels, "leaves": leaves, "exercises": exercises}


def _folder_of(package: str) -> Path:
    """The folder of a package, found without importing it: only its files are needed."""
    found = importlib.util.find_spec(package)
    if found is None:
        raise SystemExit(f"sequence_data: the package {package} must be installed, since its files contain the data.")
    return Path(found.submodule_search_locations[0])


def _read_ts(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows `(T, F)` of a file in .ts format, and their labels."""
    lines = path.read_text(encoding="utf-8").splitlines()
    data = lines[next(n for n, line in enumerate(lines) if line.lower().startswith("@data")) + 1 :]
    rows = [line.split(":") for line in data if line.strip()]
    sequences = [np.stack([np.array(c.split(","), "float32") for c in channels], axis=1) for *channels, _ in rows]
    return sequences, np.array([label for *_, label in rows])


def _classified(name, train, test) -> Data:
    """A classification data set; a fifth of the training rows is for validation."""
    (sequences, labels), (tested, test_labels) = train, test
    classes, steps = np.unique(labels), np.concatenate(sequences)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    longest = max(map(len, [*sequences, *tested]))

    def part(rows, names):
        features = np.zeros((len(rows), longest, len(mean)), "float32")
        for place, row in enumerate(rows):
            features[place, : len(row)] = (row - mean) / deviation
        return Part(features, np.searchsorted(classes, names).astype("int32"), np.ones(len(rows), "float32"))

    order = np.random.default_rng(0).permutation(len(sequences))
    chosen = np.split(order, [len(order) // 5])
    validation, train = (part([sequences[i] for i in indices], labels[indices]) for indices in chosen)
    return Data(name, "classify", train, validation, part(tested, test_labels), len(classes), 100.0, "%")
