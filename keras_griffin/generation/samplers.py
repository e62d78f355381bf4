"""Samplers: how the next token is chosen from the logits.

A sampler is a pure function `(logits (B, V), uniform (B,)) -> ids (B,)`, float32 to int32. All of its randomness is in
`uniform`, one number in [0, 1) for each row, so the same numbers choose the same tokens on every backend. Sums are
float32: like the numbers themselves, they don't resolve probabilities below 2**-24. A sampler with the attribute
`uses_history = True` also takes `history (B, V)` bool: the tokens that each row has met (see `HistorySampler`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, cast, runtime_checkable

import numpy as np
from keras import backend, ops

from keras_griffin.checks import COUNT, Rule, checked, is_number
from keras_griffin.generation.compilers.compile import tensors_alone
from keras_griffin.shapes import Tensor

_TEMPERATURE = Rule("a finite number above 0", lambda value: is_number(value) and 0 < value < math.inf)
_SHARE = Rule("above 0 and at most 1", lambda value: is_number(value) and 0 < value <= 1)
_PENALTY = Rule("a finite number of at least 1", lambda value: is_number(value) and 1 <= value < math.inf)


@dataclass(frozen=True)
class Greedy:
    """The token with the largest logit; among equals, the one with the smallest id."""

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """`(B, V)` and `(B,)` to the chosen ids `(B,)`."""
        return ops.cast(ops.argmax(logits, axis=-1), "int32")


class _Drawn:
    """Draws from softmax(logits / temperature) among the tokens that `_kept` leaves above minus infinity."""

    temperature: float

    def __post_init__(self):
        checked(type(self).__name__, _TEMPERATURE, temperature=self.temperature)

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """`(B, V)` and `(B,)` to the chosen ids `(B,)`."""
        return draw(self._kept(tempered(logits, self.temperature)), uniform)

    def _kept(self, logits: Tensor) -> Tensor:
        """The logits, at minus infinity for the tokens to exclude."""
        return logits


@dataclass(frozen=True)
class Temperature(_Drawn):
    """A draw from softmax(logits / temperature): sharper below 1, flatter above 1.

    Args:
        temperature: above 0.

    Raises:
        ValueError: the temperature is not a finite number above 0.
    """

    temperature: float = 1.0


@dataclass(frozen=True)
class TopK(_Drawn):
    """A draw from softmax(logits / temperature) among the k largest logits, and those equal to the k-th.

    Args:
        k: at least 1; at or above the vocabulary's size, every token is kept.
        temperature: above 0.

    Raises:
        ValueError: k is not an integer of at least 1, or the temperature is not a finite number above 0.
    """

    k: int
    temperature: float = 1.0

    def __post_init__(self):
        checked("TopK", COUNT, k=self.k)
        super().__post_init__()

    def _kept(self, logits: Tensor) -> Tensor:
        """The logits from the k-th largest on."""
        largest, _ = ops.top_k(logits, min(int(self.k), logits.shape[-1]))
        return _keep_from(logits, largest[:, -1:])


@dataclass(frozen=True)
class TopP(_Drawn):
    """A draw from softmax(logits / temperature) among the fewest likeliest tokens whose probabilities reach p.

    The token that brings the sum to p is included, and so are those exactly as likely as it.

    Args:
        p: above 0, at most 1.
        temperature: above 0; applied first.

    Raises:
        ValueError: p is not above 0 and at most 1, or the temperature is not a finite number above 0.

    Reference: Holtzman et al., The Curious Case of Neural Text Degeneration, arXiv 1904.09751, section 3.1.
    """

    p: float
    temperature: float = 1.0

    def __post_init__(self):
        checked("TopP", _SHARE, p=self.p)
        super().__post_init__()

    def _kept(self, logits: Tensor) -> Tensor:
        """The logits from the last one on before which the probabilities stay below p."""
        return nucleus(logits, self.p)


@dataclass(frozen=True)
class MinP(_Drawn):
    """A draw from softmax(logits / temperature) among the tokens at least p times as likely as the likeliest.

    If the model is confident few tokens remain, otherwise many.

    Args:
        p: above 0, at most 1.
        temperature: above 0; applied first.

    Raises:
        ValueError: p is not above 0 and at most 1, or the temperature is not a finite number above 0.

    Reference: Nguyen et al., Turning Up the Heat: Min-p Sampling, arXiv 2407.01082, section 3.
    """

    p: float
    temperature: float = 1.0

    def __post_init__(self):
        checked("MinP", _SHARE, p=self.p)
        super().__post_init__()

    def _kept(self, logits: Tensor) -> Tensor:
        """The logits from log p on; the largest is 0."""
        return _keep_from(logits, math.log(self.p))


@dataclass(frozen=True)
class RepetitionPenalty:
    """Another sampler's choice, with every token that a row has met made less likely.

        z_v = z_v / penalty   where z_v > 0,   else   z_v penalty        for each v that the row has met

    A row has met the tokens of the prompt and those generated since; tokens that a state read before the call do not
    count.

    Args:
        penalty: at least 1, which changes nothing; 1.2 is usual.
        sampler: chooses from the changed logits: a name or a sampler.

    Raises:
        ValueError: the penalty is not a finite number of at least 1, or the sampler is invalid or uses the history.

    Examples:
        >>> from keras_griffin.generation import RepetitionPenalty, TopP
        >>> RepetitionPenalty(1.2, TopP(0.9))
        RepetitionPenalty(penalty=1.2, sampler=TopP(p=0.9, temperature=1.0))

    Reference: Keskar et al., CTRL, arXiv 1909.05858, section 4.1.
    """

    penalty: float
    sampler: "str | Sampler" = "greedy"
    uses_history: ClassVar[bool] = True

    def __post_init__(self):
        checked("RepetitionPenalty", _PENALTY, penalty=self.penalty)
        sampler = get_sampler("RepetitionPenalty", self.sampler)
        if _uses_history(sampler):
            raise ValueError(f"RepetitionPenalty: the sampler must not use the history itself. Got {sampler!r}.")
        object.__setattr__(self, "sampler", sampler)

    def __call__(self, logits: Tensor, uniform: Tensor, history: Tensor) -> Tensor:
        """`(B, V)`, `(B,)` and `(B, V)` bool to the chosen ids `(B,)`."""
        logits = ops.cast(logits, "float32")
        lowered = ops.where(logits > 0, logits / self.penalty, logits * self.penalty)
        sampler = cast(Sampler, self.sampler)
        return sampler(ops.where(history, lowered, logits), uniform)


@runtime_checkable
class HistorySampler(Protocol):
    """A sampler that reads, if `uses_history`, which tokens each row has met: in the prompt, and generated since."""

    @property
    def uses_history(self) -> bool: ...

    def __call__(self, logits: Tensor, uniform: Tensor, history: Tensor) -> Tensor: ...


Sampler = Callable[..., Tensor]
#: The samplers that have a name, and their constructors.
SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "greedy": Greedy,
    "temperature": Temperature,
    "top_k": partial(TopK, 50),
    "top_p": partial(TopP, 0.9),
    "min_p": partial(MinP, 0.1),
}


def get_sampler(function_name: str, sampler: str | Sampler) -> Sampler:
    """The sampler itself, which must be a hashable callable object, or the one of that name."""
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler]()
    if not callable(sampler) or isinstance(sampler, type):
        names = ", ".join(repr(name) for name in SAMPLERS)
        raise ValueError(
            f"{function_name}: the sampler must be one of {names}, or a sampler such as TopP(0.95) from "
            f"keras_griffin.generation. Got {sampler!r}."
        )
    if type(sampler).__hash__ is None:
        raise ValueError(f"{function_name}: a sampler must be hashable, as a frozen dataclass is. Got {sampler!r}.")
    return sampler


def check_sampler(function_name: str, sampler: Sampler, num_rows: int, vocabulary_size: int) -> None:
    """Call a custom sampler once, before it is compiled or recorded, and check what it returns."""
    if type(sampler) in (Greedy, Temperature, TopK, TopP, MinP):
        return
    history = [ops.convert_to_tensor(x) for x in history_of(sampler, [()] * num_rows, vocabulary_size)]
    with tensors_alone(f"{function_name}: a sampler"):
        ids = sampler(ops.zeros((num_rows, vocabulary_size)), ops.zeros((num_rows,)), *history)
    found = f"{type(ids).__name__}"
    if ops.is_tensor(ids):
        found = f"{backend.standardize_dtype(ids.dtype)} of shape {tuple(ids.shape)}"
        if "int" in found and tuple(ids.shape) == (num_rows,):
            return
    raise ValueError(
        f"{function_name}: a sampler must return one integer for each row, shape ({num_rows},). "
        f"Got {found} from {sampler!r}."
    )


def history_of(sampler: Sampler, rows, vocabulary_size: int) -> tuple[np.ndarray, ...]:
    """`(B, V)` bool, the tokens in each of B rows, for a sampler that uses it; otherwise empty."""
    if not _uses_history(sampler):
        return ()
    history = np.zeros((len(rows), vocabulary_size), bool)
    for met, token_ids in zip(history, rows, strict=True):
        met[np.asarray(token_ids, int)] = True
    return (history,)


def _uses_history(sampler):
    return isinstance(sampler, HistorySampler) and sampler.uses_history


def check_chosen(function_name: str, sampler: Sampler, token_ids: np.ndarray, vocabulary_size: int) -> None:
    """Check that the ids that a sampler chose are in the vocabulary."""
    outside = token_ids[(token_ids < 0) | (token_ids >= vocabulary_size)]
    if outside.size:
        raise ValueError(
            f"{function_name}: a sampler must choose ids from 0 to {vocabulary_size - 1}. "
            f"Got {outside[0]} from {sampler!r}."
        )


def tempered(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """`(B, V)` logits in float32 over the temperature, a number or `(B, 1)`; the largest is 0, so none overflows."""
    logits = ops.cast(logits, "float32")
    return (logits - ops.max(logits, axis=-1, keepdims=True)) / temperature


def nucleus(logits: Tensor, p: Tensor | float) -> Tensor:
    """The logits from the last one on before which the probabilities stay below p, a number or `(B, 1)`."""
    descending = -ops.sort(-logits, axis=-1)
    probabilities = ops.softmax(descending, axis=-1)
    likelier = ops.cumsum(probabilities, axis=-1) - probabilities
    smallest = ops.min(ops.where(likelier < p, descending, np.inf), axis=-1, keepdims=True)
    return _keep_from(logits, smallest)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """The id at which the cumulative distribution of softmax(logits) passes `uniform`."""
    # Token v owns the interval [start_v, end_v) of the running sum of weights. The last token of positive weight that
    # starts at or before the number is chosen: the first such token starts at exactly 0, so there is one, and a token
    # of weight 0 is never chosen, however a backend rounds its running sum.
    weights = ops.exp(logits)
    ends = ops.cumsum(weights, axis=-1)
    reached = ends - weights <= ops.expand_dims(uniform, 1) * ends[:, -1:]
    vocabulary = ops.arange(logits.shape[-1], dtype="int32")
    return ops.max(ops.where(ops.logical_and(reached, weights > 0), vocabulary, 0), axis=-1)


def _keep_from(logits, smallest):
    """The logits, with those below `smallest`, `(B, 1)` or a number, at minus infinity."""
    return ops.where(logits >= smallest, logits, -np.inf)
