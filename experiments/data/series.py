"""Series of numbers: one that is computed, and three that packages ship."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.data.extra import package
from experiments.models.sequence_models import Part, Task

#: The shares of a series, from its start, to train on and to train or validate on.
TRAINED, VALIDATED = 0.7, 0.85


class Forecast(NamedTuple):
    """What to forecast of a series, and how."""

    #: A key of `SERIES`.
    series: str
    #: Steps from the last known value to the one to forecast.
    ahead: int
    #: The naive forecast at a step is what was to be forecast so many steps before, at least `ahead`.
    lag: int
    #: Steps of a window that are only read, and steps after them that forecast.
    context: int
    due: int
    #: Whether steps are read as changes, and the change from the last value is forecast, as where a series grows.
    changes: bool = False


class Windows(NamedTuple):
    """A task, and what its test needs."""

    task: Task
    #: The naive forecasts: `(N, T, 1)`.
    naive: np.ndarray
    #: Forecasts in a row that share most of what comes between, and so count as one where errors are compared: the
    #: least divisor of a window's forecasts that is not less than the steps ahead, or all of them.
    block: int


def mackey_glass(length: int, step: float = 0.1) -> np.ndarray:
    """The Mackey-Glass series, chaotic at this delay, at the times 0, 1, 2, ..., `length` - 1.

        dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t)          x(t) = 1.2 for t <= 0

    It is integrated by Runge and Kutta's method of fourth order, linear between delayed values.

    Args:
        length: of the series.
        step: of the integration; 1 and 17 must be multiples.

    Reference: Mackey and Glass 1977.
    """
    steps_a_unit = round(1 / step)
    delay = 17 * steps_a_unit
    x = [1.2] * (delay + 1)

    def slope(now, delayed):
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * now

    for _ in range((length - 1) * steps_a_unit):
        now, first, last = x[-1], x[-1 - delay], x[-delay]
        middle = (first + last) / 2
        slopes = [slope(now, first)]
        slopes.append(slope(now + step / 2 * slopes[0], middle))
        slopes.append(slope(now + step / 2 * slopes[1], middle))
        slopes.append(slope(now + step * slopes[2], last))
        x.append(now + step / 6 * (slopes[0] + 2 * slopes[1] + 2 * slopes[2] + slopes[3]))
    return np.array(x[delay::steps_a_unit])


def chaos() -> np.ndarray:
    """10,000 values of Mackey and Glass's series, after 1,000 in which it forgets its start."""
    return mackey_glass(11_000)[1000:]


def sea_temperatures() -> np.ndarray:
    """Monthly temperatures of the sea off Peru from 1950 to 2010, where El Nino warms it, in degrees Celsius."""
    found = package("statsmodels.datasets.elnino", "statsmodels").load_pandas().data
    return found.drop(columns="YEAR").to_numpy("float64").reshape(-1)


def carbon_dioxide() -> np.ndarray:
    """Weekly carbon dioxide on Mauna Loa from 1958 to 2001, in parts per million; gaps are filled by lines."""
    found = package("statsmodels.datasets.co2", "statsmodels").load_pandas().data["co2"]
    return found.interpolate().to_numpy("float64")


def sunspots() -> np.ndarray:
    """Yearly numbers of sunspots from 1700 to 2008."""
    found = package("statsmodels.datasets.sunspots", "statsmodels").load_pandas().data["SUNACTIVITY"]
    return found.to_numpy("float64")


SERIES: dict[str, Callable[[], np.ndarray]] = {
    "Mackey-Glass": chaos,
    "sea temperature": sea_temperatures,
    "carbon dioxide": carbon_dioxide,
    "sunspots": sunspots,
}


@functools.cache
def forecast_task(forecast: Forecast) -> Windows:
    """The task to forecast a series, read or computed once a process."""
    return windows(SERIES[forecast.series](), forecast)


def windows(values: np.ndarray, forecast: Forecast) -> Windows:
    """A series as a task: at every step of a window, what comes `ahead` steps later.

    Windows to train on begin anywhere in the training part. Those of the validation and of the test overlap in their
    contexts alone, so that each step forecasts once. What one part forecasts comes before the steps at which the next
    one forecasts. Numbers are in deviations of the training part, from its mean.

    Args:
        values: `(steps,)`.
        forecast: what to forecast of them.
    """
    ahead, length = forecast.ahead, forecast.context + forecast.due
    if forecast.changes:
        known, targets = np.diff(values), values[1 + ahead :] - values[1:-ahead]
    else:
        known, targets = values, values[ahead:]
    trained, validated = (round(share * len(targets)) for share in (TRAINED, VALIDATED))
    known, targets = (
        (numbers - numbers[: trained - ahead].mean()) / numbers[: trained - ahead].std()
        for numbers in (known.astype("float64"), targets.astype("float64"))
    )
    weights = np.zeros(length, "float32")
    weights[forecast.context :] = length / forecast.due

    def steps_of(starts):
        return np.asarray(starts)[:, None] + np.arange(length)

    def part(starts):
        steps = steps_of(starts)
        features, wanted = (numbers[steps][..., None].astype("float32") for numbers in (known, targets))
        return Part(features, wanted, np.tile(weights, (len(steps), 1)))

    def sample(rows, seed):
        return part(np.random.default_rng(seed).integers(trained - ahead - length + 1, size=rows))

    def between(start, end):
        return range(start - forecast.context, end - length + 1, forecast.due)

    test = between(validated, len(targets))
    task = Task(sample, part(between(trained, validated - ahead)), part(test), pool=None)
    block = min((each for each in range(ahead, forecast.due) if forecast.due % each == 0), default=forecast.due)
    return Windows(task, targets[steps_of(test) - forecast.lag][..., None], block)
