"""Continue prompts, one token at a time, from a state of constant size."""

from collections.abc import Iterator

import keras
import numpy as np

from keras_griffin.generation.compile import model_functions, sampler_function
from keras_griffin.generation.prompt import PAD_ID, left_pad, read_prompt, read_stop_ids
from keras_griffin.generation.room import grows, with_room, without_room
from keras_griffin.generation.samplers import Sampler, get_sampler
from keras_griffin.generation.uniform import uniform_numbers
from keras_griffin.shapes import State


def generate(
    model,
    prompt,
    max_new_tokens: int,
    *,
    sampler: str | Sampler = "greedy",
    seed: int | None = None,
    stop_ids=(),
    state: State = None,
    return_state: bool = False,
):
    """Continue every row of a prompt; what a row gets never depends on the other rows.

    Args:
        model: a `LanguageModel`.
        prompt: `(B, T)` integer ids, or a list of B rows of any lengths of at least 1.
        max_new_tokens: how many tokens each row gets, unless it meets a stop id first; 0 only reads the prompt.
        sampler: `"greedy"`, `"temperature"`, or a sampler such as `TopP(0.9)`.
        seed: makes sampling repeatable: each row draws from a stream of its own, given by the seed and the row's index.
            None draws a fresh seed.
        stop_ids: a row that gets one of these ids keeps it and gets no more.
        state: where to go on, from an earlier call with `return_state=True`, or from `advance`; it stays valid.
        return_state: return the state too.

    Returns:
        The prompt followed by the new tokens, int32. For an array an array `(B, T + max_new_tokens)`, filled with 0
        after a stop id; for a list a list of arrays, each cut after its stop id. With `return_state`, a pair of that
        and the state after all those tokens (the fill excepted), from which another prompt goes on.

    Raises:
        ValueError: the prompt, the stop ids, the number of tokens, the sampler, the seed or the state is not as said.

    Examples:
        >>> from keras_griffin.generation import generate
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> [len(row) for row in generate(model, [[1, 2, 3], [4]], 5, sampler="temperature", seed=0)]
        [8, 6]
    """
    continuation = _Continuation(model, prompt, max_new_tokens, sampler, seed, stop_ids, state)
    made = np.array(list(continuation), "int32").reshape(-1, len(continuation.rows)).T
    if isinstance(prompt, list | tuple):
        tokens = [
            np.concatenate([row, _until_stop(new, continuation.stop_ids)]).astype("int32")
            for row, new in zip(continuation.rows, made, strict=True)
        ]
    else:
        fill = np.full((len(continuation.rows), max_new_tokens - made.shape[1]), PAD_ID)
        tokens = np.concatenate([np.stack(continuation.rows), made, fill], axis=1).astype("int32")
    return (tokens, continuation.final_state()) if return_state else tokens


def stream(
    model,
    prompt,
    max_new_tokens: int,
    *,
    sampler: str | Sampler = "greedy",
    seed: int | None = None,
    stop_ids=(),
    state: State = None,
) -> Iterator[np.ndarray]:
    """Continue every row of a prompt, and give each step's tokens `(B,)` int32 as they are made.

    Arguments and errors are those of `generate`. A row gives 0 after its stop id; the iterator ends when all rows have
    met one.
    """
    return iter(_Continuation(model, prompt, max_new_tokens, sampler, seed, stop_ids, state))


class _Continuation:
    """Rows being continued, token by token.

    Between steps the state has seen every token but the last one of each row. That one waits in `last`, and `waiting`
    says where it is a token: a row's stop id is still read in the step after it, and nothing from then on.
    """

    def __init__(self, model, prompt, max_new_tokens, sampler, seed, stop_ids, state):
        if not isinstance(max_new_tokens, int | np.integer) or max_new_tokens < 0:
            raise ValueError(f"generate: max_new_tokens must be an integer of at least 0. Got {max_new_tokens!r}.")
        vocabulary_size = model.config.vocabulary_size
        self.rows = read_prompt(prompt, vocabulary_size)
        self.stop_ids = read_stop_ids(stop_ids, vocabulary_size)
        self.uniform = uniform_numbers(seed, len(self.rows))
        self.sampler = sampler_function(get_sampler(sampler))
        self.max_new_tokens = max_new_tokens
        # The functions hold the model weakly, and a stream may be all that is left of it.
        self.model = model
        self.functions = model_functions(model)
        self.initial_state = model.initial_state(len(self.rows))
        # They take the buffers of the state that they are given, and the caller's must stay valid.
        self.state = keras.tree.map_structure(keras.ops.copy, self._first_state(state))
        self.room = self.read = 0
        token_ids, mask = left_pad(self.rows, bucketed=self.functions.compiled)
        if token_ids.shape[1] > 1:
            self._make_room(token_ids.shape[1] - 1)
            self.state = self.functions.read(token_ids[:, :-1], mask[:, :-1], self.state)
        self.last = token_ids[:, -1]
        self.waiting = self.alive = mask[:, -1]

    def __iter__(self):
        for _ in range(self.max_new_tokens):
            if not self.alive.any():
                return
            logits = self._read_last()
            ids = keras.ops.convert_to_numpy(self.sampler(logits, next(self.uniform)))
            self.last = np.where(self.alive, ids, PAD_ID).astype("int32")
            self.waiting, self.alive = self.alive, self.alive & ~np.isin(self.last, self.stop_ids)
            yield self.last

    def final_state(self):
        """The state after every token."""
        self._read_last()
        return without_room(self.state, self.initial_state, self.room)

    def _make_room(self, steps):
        """See that a state that grows has room for so many steps, which use it up."""
        if not grows(self.initial_state):
            return
        if self.room < steps:
            # Powers of two, so that what is compiled for one size serves other prompts.
            more = max(64, 1 << (self.read + steps - 1).bit_length())
            self.state = with_room(self.state, self.initial_state, more)
            self.room += more
        self.room -= steps
        self.read += steps

    def _read_last(self):
        self._make_room(1)
        logits, self.state = self.functions.step(self.last[:, None], self.waiting[:, None], self.state)
        return logits

    def _first_state(self, state):
        if state is None:
            return self.initial_state
        got, wanted = _leaf_shapes(state), _leaf_shapes(self.initial_state)
        if [shape[2:] for shape in got] != [shape[2:] for shape in wanted]:
            raise ValueError(
                f"generate: the state must be one of this model, of {len(wanted)} tensors. "
                f"Got {type(state).__name__} of {len(got)}."
            )
        if {shape[0] for shape in got} != {len(self.rows)}:
            raise ValueError(
                "generate: the state must have one row for each row of the prompt. "
                f"Got a state of {got[0][0]} and a prompt of {len(self.rows)}."
            )
        return state


def _leaf_shapes(state):
    """The shapes of a state's tensors; their second axis may be time."""
    return [tuple(getattr(leaf, "shape", ())) for leaf in keras.tree.flatten(state)]


def _until_stop(tokens, stop_ids):
    stops = np.flatnonzero(np.isin(tokens, stop_ids))
    return tokens[: stops[0] + 1] if stops.size else tokens
