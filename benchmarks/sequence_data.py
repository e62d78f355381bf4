"""Eleven data sets of real-valued sequences from Python packages, as arrays for training and testing.

    pip install pmdarima statsmodels && pip install --no-deps aeon seglearn

Features have zero mean and unit variance over the training steps. Steps past the end of a row are zeros, which
`keras.layers.Masking` masks, and have no weight. The splits into training and testing are the archives' own.
"""

import functools
import importlib.util
from collections.abc import Callable
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
    #: All rows that are not for testing.
    train: Part
    test: Part
    #: None for regression.
    num_classes: int | None
    #: The value of an error of 1 in the unit `unit`.
    scale: float
    unit: str
    #: How many of the last rows for training are for validation; None for a quarter, drawn for each seed.
    last_rows: int | None = None
    #: Whether rows end before the last step.
    has_ends: bool = False

    @property
    def is_labelled_by_step(self):
        """Whether every step has a target."""
        return self.train.targets.ndim > (2 if self.num_classes is None else 1)

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The indices of the rows for training and for validation, in the search."""
        count = len(self.train.features)
        if self.last_rows is not None:
            return np.split(np.arange(count), [count - self.last_rows])
        # Of each class a quarter.
        order = np.random.default_rng(seed).permutation(count)
        order = order[np.argsort(self.train.targets[order], kind="stable")]
        return np.sort(order[np.arange(count) % 4 != 0]), np.sort(order[::4])


def demand() -> Data:
    """Half-hourly electricity demand of England and Wales, 12 weeks: predict the demand six hours after each step.

    The last two weeks are for testing, the two before for validation. The first half of a row is only context.
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

    train, validation, test = windows(0, 8, 8), windows(8, 10, length // 2), windows(10, 12, length // 2)
    both = _joined(train, validation)
    return Data("demand", "forecast", both, test, None, float(deviation), "MW", len(validation.features))


def elnino(length: int = 36, ahead: int = 6) -> Data:
    """The monthly temperature of the sea off Peru, 1950 to 2010: predict it six months after a row of three years.

    The targets from 2000 on are for testing, those from 1990 for validation.
    """
    from statsmodels.datasets import elnino as temperatures

    series = temperatures.load_pandas().data.to_numpy()[:, 1:].ravel()
    ends = np.arange(length, len(series) - ahead + 1)
    years = 1950 + (ends + ahead - 1) // 12
    before = series[: 12 * (2000 - 1950)]
    mean, deviation = before.mean(), before.std()
    series = ((series - mean) / deviation).astype("float32")
    features = np.stack([series[end - length : end, None] for end in ends])
    targets = series[ends + ahead - 1, None]
    train, test = (
        Part(features[rows], targets[rows], np.ones(rows.sum(), "float32")) for rows in (years < 2000, years >= 2000)
    )
    return Data(
        "elnino", "forecast", train, test, None, float(deviation), "°C", int(np.sum(years[years < 2000] >= 1990))
    )


def adding(length: int = 400, rows: int = 20_000) -> Data:
    """The adding problem: the sum of the two of 400 random numbers that are marked, one in each half."""

    def part(count, seed):
        generator = np.random.default_rng(seed)
        numbers, marks = generator.uniform(size=(count, length)), np.zeros((count, length))
        for half in range(2):
            marks[np.arange(count), half * length // 2 + generator.integers(length // 2, size=count)] = 1
        sums = (numbers * marks).sum(axis=1, keepdims=True)
        features = np.stack([(numbers - 0.5) * 12**0.5, marks], axis=-1)
        return Part(features.astype("float32"), sums.astype("float32"), np.ones(count, "float32"))

    return Data("adding", "regression", part(rows, 0), part(500, 1), None, 1.0, "", 500)


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

    train = _joined(streams(~is_test & ~is_validation, rows, 1), streams(is_validation, 60, 2))
    test, classes = streams(is_test, 150, 3), int(max(recordings["y"])) + 1
    return Data("exercises", "label each step", train, test, classes, 100.0, "%", 60, has_ends=True)


def published(name: str) -> dict[str, float]:
    """The errors in percent that aeon's wheel has of others on the official split of a data set of the archives."""
    folder = _folder_of("aeon") / "testing" / "example_results_files" / "classification" / "accuracy"
    archive = getattr(DATA[name], "args", (None, None))[1]
    found = {}
    for other in ("InceptionTime", "HC2"):
        lines = (folder / f"{other}_accuracy.csv").read_text(encoding="utf-8").splitlines()
        rows = dict(line.split(",", 1) for line in lines if "," in line)
        if archive in rows:
            # The first is the official split, the others were drawn anew.
            found[other] = 100 * (1 - float(rows[archive].split(",")[0]))
    return found


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


def _joined(*parts: Part) -> Part:
    return Part(*map(np.concatenate, zip(*parts, strict=True)))


def archived(name: str, folder: str) -> Data:
    """A data set of the UCR and UEA archives, from aeon's wheel."""
    path = _folder_of("aeon") / "datasets" / "data" / folder
    (sequences, labels), (tested, test_labels) = (_read_ts(path / f"{folder}_{part}.ts") for part in ("TRAIN", "TEST"))
    classes, steps = np.unique(labels), np.concatenate(sequences)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    lengths = {len(row) for row in [*sequences, *tested]}

    def part(rows, names):
        features = np.zeros((len(rows), max(lengths), len(mean)), "float32")
        for place, row in enumerate(rows):
            features[place, : len(row)] = (row - mean) / deviation
        return Part(features, np.searchsorted(classes, names).astype("int32"), np.ones(len(rows), "float32"))

    parts = part(sequences, labels), part(tested, test_labels)
    return Data(name, "classify", *parts, len(classes), 100.0, "%", has_ends=len(lengths) > 1)


#: A loader for each name; of the archives' sets, what is classified.
DATA: dict[str, Callable[[], Data]] = {
    "demand": demand,
    "elnino": elnino,
    "exercises": exercises,
    "adding": adding,
    "vowels": functools.partial(archived, "vowels", "JapaneseVowels"),  # nine speakers by two vowels
    "italy": functools.partial(archived, "italy", "ItalyPowerDemand"),  # summer or winter by a day's demand
    "gunpoint": functools.partial(archived, "gunpoint", "GunPoint"),  # a hand draws a gun or points
    "motions": functools.partial(archived, "motions", "BasicMotions"),  # four activities by six sensors
    "arrowhead": functools.partial(archived, "arrowhead", "ArrowHead"),  # three kinds of arrowheads by their outline
    "leaves": functools.partial(archived, "leaves", "OSULeaf"),  # six species by their outline
    "appliances": functools.partial(archived, "appliances", "ACSF1"),  # ten kinds of appliances by their power
}
