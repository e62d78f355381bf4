"""Continue prompts from a state of constant size."""

from collections.abc import Collection, Iterator
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.checks import checked, integer_from
from keras_griffin.generation.capacity import grows, with_capacity, without_capacity
from keras_griffin.generation.compilers.compile import compiles
from keras_griffin.generation.foreign_arguments import rejects_foreign_arguments
from keras_griffin.generation.loop import consume, decode
from keras_griffin.generation.prompt import (
    PAD_ID,
    Prompt,
    chunks,
    count_rows,
    is_text,
    read_prompt,
    read_stop_ids,
    start_empty_rows,
)
from keras_griffin.generation.samplers import Sampler, check_chosen, check_sampler, get_sampler, history_of
from keras_griffin.generation.state import LanguageModelState, fitted
from keras_griffin.generation.uniform import uniform_numbers
from keras_griffin.ops.shared.padding import power_of_two
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder

#: How many tokens are generated between two checks.
BLOCK = 128


@rejects_foreign_arguments
def generate(
    model: keras.Model,
    prompt: Prompt,
    max_new_tokens: int,
    *,
    sampler: str | Sampler = "greedy",
    seed: int | None = None,
    stop_ids: Collection[int] = (),
    state: LanguageModelState | None = None,
    return_state: bool = False,
) -> Any:
    """Continue every row of a prompt; the result for a row never depends on the other rows.

    Args:
        model: a `LanguageModel`.
        prompt: `(B, T)` integer ids, a list of B rows of any lengths, a text, or a list of B texts. An empty row
            continues from its state; if that has seen nothing, it begins with the tokenizer's start token.
        max_new_tokens: how many tokens to generate for each row, unless a stop id comes first; 0 only reads the prompt.
        sampler: `"greedy"`, `"temperature"`, `"top_k"`, `"top_p"`, `"min_p"`, or a sampler such as `TopP(0.95)`.
        seed: makes sampling repeatable: each row has its own random stream, given by the seed and the row's index.
            None draws a fresh seed.
        stop_ids: a row ends after the first of these ids, which it keeps. For text, the tokenizer's stop ids are added.
        state: the state to continue from, of an earlier call with `return_state=True`, of `prefill` or `advance`; it
            stays valid.
        return_state: return the state too.

    Returns:
        The prompt followed by the new tokens, int32: for an array an array `(B, T + max_new_tokens)`, filled with 0
        after a stop id; for a list a list of arrays, each cut after its stop id; for text, text. With `return_state`, a
        pair of that and the state after all tokens but the fill, from which another call can continue.

    Raises:
        ValueError: the prompt, the stop ids, the number of tokens, the sampler, the seed or the state is invalid.

    Examples:
        >>> from keras_griffin.generation import generate
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> [len(row) for row in generate(model, [[1, 2, 3], [4]], 5, sampler="temperature", seed=0)]
        [8, 6]
    """
    continuation = Continuation("generate", model, prompt, max_new_tokens, sampler, seed, stop_ids, state)
    nothing = np.zeros((len(continuation.rows), 0), "int32")
    made = np.concatenate([nothing, *continuation.blocks(BLOCK)], axis=1)
    tokens = _as_the_prompt(prompt, continuation, made, max_new_tokens)
    return (tokens, continuation.state) if return_state else tokens


@rejects_foreign_arguments
def stream(
    model: keras.Model,
    prompt: Prompt,
    max_new_tokens: int,
    *,
    sampler: str | Sampler = "greedy",
    seed: int | None = None,
    stop_ids: Collection[int] = (),
    state: LanguageModelState | None = None,
) -> "Stream":
    """Continue every row of a prompt, yielding each step's tokens as they are generated.

    Arguments and errors are those of `generate`.

    Returns:
        A `Stream`, an iterator over the tokens `(B,)` int32 of each step; over pieces of text for a text, and over
        lists of pieces for a list of texts. It ends when all rows have reached a stop id. Its `state` is the state
        after the tokens yielded so far.
    """
    return Stream(Continuation("stream", model, prompt, max_new_tokens, sampler, seed, stop_ids, state), prompt)


def prefill(model: keras.Model, prompt: Prompt, *, state: LanguageModelState | None = None) -> LanguageModelState:
    """The state after a prompt: a prefix that many continuations can share.

    Memory does not grow with the prompt, which is read in chunks.

    Args:
        model: a `LanguageModel`.
        prompt: as for `generate`.
        state: the state to continue from; it stays valid.

    Raises:
        ValueError: the prompt or the state is invalid.
    """
    return Continuation("prefill", model, prompt, 0, "greedy", 0, (), state).state


class Continuation:
    """Rows being continued, block by block: their prompts, and the state after all tokens so far.

    Attributes:
        working_state: that state with `free_places` empty places, where it grows; the compiled functions donate it.
    """

    def __init__(self, function_name, model, prompt, max_new_tokens, sampler, seed, stop_ids, state):
        backends.check_not_forked(function_name)
        self.function_name = function_name
        # The compiled functions hold the model weakly, and a stream may hold the last reference to it.
        self.model, self.tokenizer = model, model.tokenizer
        self.steps_left = checked(function_name, integer_from(0), max_new_tokens=max_new_tokens)

        self.working_state, self.seen = _start(function_name, model, count_rows(function_name, prompt), state)

        vocabulary_size = model.config.vocabulary_size
        rows = read_prompt(function_name, prompt, vocabulary_size, self.tokenizer, self.seen)
        self.rows = start_empty_rows(function_name, rows, self.seen, self.tokenizer)
        self.stop_ids = read_stop_ids(function_name, stop_ids, vocabulary_size)
        if is_text(prompt):
            self.stop_ids = np.union1d(self.stop_ids, np.array(self.tokenizer.stop_ids, "int32")).astype("int32")
        self.alive = np.ones(len(rows), bool)

        self.uniform = uniform_numbers(function_name, seed, len(rows))
        self.sampler = get_sampler(function_name, sampler)
        check_sampler(function_name, self.sampler, len(rows), vocabulary_size)
        self.history = history_of(self.sampler, self.rows, vocabulary_size)

        self.free_places = self._places_made = self._steps_taken = 0
        for token_ids, mask in chunks(self.rows, bucketed=compiles()):
            self.make_places(token_ids.shape[1])
            # Masked steps use up no empty places.
            self.free_places -= token_ids.shape[1] if mask is None else int(mask.sum(axis=1).max())
            self.working_state = consume(model, self.working_state, token_ids, mask)

    @property
    def state(self) -> LanguageModelState:
        """The state after every token so far; it stays valid while the rows continue."""
        return without_capacity(keras.tree.map_structure(ops.copy, self.working_state), self.free_places)

    def blocks(self, steps: int) -> Iterator[np.ndarray]:
        """The remaining tokens, in blocks `(B, steps)` int32, the last maybe shorter; 0 after a row's stop id."""
        while self.steps_left and np.any(ops.convert_to_numpy(self.alive)):
            wanted = min(steps, self.steps_left)
            uniform = np.zeros((steps, len(self.rows)), "float32")
            uniform[:wanted] = [next(self.uniform) for _ in range(wanted)]
            self.make_places(wanted)
            token_ids, self.working_state, self.alive, self.history = decode(
                self.model, self.sampler, self.working_state, self.alive, uniform, wanted, self.stop_ids, self.history
            )
            check_chosen(self.function_name, self.sampler, token_ids, self.model.config.vocabulary_size)
            self.free_places -= token_ids.shape[1]
            self.steps_left -= wanted
            yield token_ids

    def decoders(self) -> list[IncrementalDecoder]:
        """A decoder of the new tokens for each row; decoding differs at the start of a text and within it."""
        goes_on = [bool(before or self.tokenizer.decode(row)) for before, row in zip(self.seen, self.rows, strict=True)]
        return [IncrementalDecoder(self.tokenizer, is_first=not within) for within in goes_on]

    def make_places(self, steps: int) -> None:
        """Ensure that a state that grows has room for `steps` more steps."""
        if not grows(self.working_state):
            return
        self._steps_taken += steps
        if self.free_places < steps:
            # Powers of two in all, so that a function compiled for one size serves other prompts.
            more = max(64, power_of_two(self._steps_taken) - self._places_made)
            self.working_state = with_capacity(self.working_state, more)
            self.free_places += more
            self._places_made += more


class Stream:
    """The tokens of a continuation as they are generated, or their text; returned by `stream`.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> tokens = model.stream([[1, 2, 3]], 1000)
        >>> len([next(tokens) for _ in range(5)])
        5
        >>> tokens.state
        LanguageModelState: 1 rows, 3 layers, 2,702 bytes; tokens seen: 8
    """

    def __init__(self, continuation: Continuation, prompt: Prompt):
        self._continuation = continuation
        steps: Iterator = (block[:, 0] for block in continuation.blocks(1))
        if is_text(prompt):
            steps = _texts(steps, continuation)
        if isinstance(prompt, str):
            steps = (text for (text,) in steps if text)
        self._steps = steps

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._steps)

    @property
    def state(self) -> LanguageModelState:
        """The state after everything yielded so far; it stays valid while the stream continues."""
        return self._continuation.state


def _texts(steps, continuation) -> Iterator[list[str]]:
    """For each step, the text that each row completed; at the end, the rest."""
    decoders = continuation.decoders()
    alive = np.ones(len(decoders), bool)
    for token_ids in steps:
        yield [
            decoder.push(int(token)) if goes_on else ""
            for decoder, token, goes_on in zip(decoders, token_ids, alive, strict=True)
        ]
        alive &= ~np.isin(token_ids, continuation.stop_ids)
    rest = [decoder.flush() for decoder in decoders]
    if any(rest):
        yield rest


def _start(function_name, model, num_rows, state) -> tuple[LanguageModelState, np.ndarray]:
    """A copy of the state that the rows continue from, a new one by default; how many tokens each row has seen."""
    initial_state = model.initial_state(num_rows)
    # Not read from a tensor: while a step is recorded, tensors have no values.
    seen = np.zeros(num_rows, "int32")
    if state is not None:
        initial_state = fitted(function_name, state, initial_state)
        seen = ops.convert_to_numpy(initial_state.tokens)
        if len(seen) != num_rows:
            raise ValueError(
                f"{function_name}: the state must have one row for each row of the prompt. "
                f"Got a state of {len(seen)} and a prompt of {num_rows}."
            )
    # The compiled functions donate the buffers of their state, and the caller's must stay valid. Gradients stop here,
    # even if the prompt is empty.
    return keras.tree.map_structure(lambda leaf: ops.copy(ops.stop_gradient(leaf)), initial_state), seen


def _as_the_prompt(prompt, continuation, made, max_new_tokens):
    """The prompt with the generated tokens, `(B, t)`, in the type of the prompt."""
    rows = continuation.rows
    if is_text(prompt):
        prompts = [prompt] if isinstance(prompt, str) else prompt
        written = [
            text + "".join(map(decoder.push, _until_stop(new, continuation.stop_ids).tolist())) + decoder.flush()
            for text, decoder, new in zip(prompts, continuation.decoders(), made, strict=True)
        ]
        return written[0] if isinstance(prompt, str) else written
    if isinstance(prompt, list | tuple):
        return [
            np.concatenate([row, _until_stop(new, continuation.stop_ids)]) for row, new in zip(rows, made, strict=True)
        ]
    fill = np.full((len(rows), max_new_tokens - made.shape[1]), PAD_ID, "int32")
    return np.concatenate([np.stack(rows), made, fill], axis=1)


def _until_stop(tokens, stop_ids):
    stops = np.flatnonzero(np.isin(tokens, stop_ids))
    return tokens[: stops[0] + 1] if stops.size else tokens
