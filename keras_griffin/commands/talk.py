"""A talk of any length in one state of constant size."""

import itertools
from collections.abc import Iterator
from typing import cast

from keras import ops

from keras_griffin.generation import Greedy, LanguageModelState, Stream, TopP
from keras_griffin.generation.state import fitted
from keras_griffin.models import LanguageModel
from keras_griffin.tokenizers import IncrementalDecoder, Tokenizer, chat_prompt, next_turn
from keras_griffin.tokenizers.chat import find_end_of_turn
from keras_griffin.tokenizers.special_tokens import END_OF_TURN


class Talk:
    """Messages and answers by turns, of which the model reads each token once.

    Where the tokenizer has Gemma's marks of turns, they stand around each turn, and the model ends its own. Otherwise a
    message is a line, and its answer is what the model writes up to the end of the first line that is not empty.

    Args:
        model: with a tokenizer.
        most_tokens: of one answer.
        sampler: how tokens are drawn.
        seed: makes the talk repeatable; each turn has its own, counted from this one. None draws fresh ones.
    """

    def __init__(self, model: LanguageModel, most_tokens: int, sampler: Greedy | TopP, seed: int | None = None):
        self.model = model
        self.most_tokens = most_tokens
        self.sampler = sampler
        self.tokenizer = cast(Tokenizer, model.tokenizer)
        self.end_of_turn = find_end_of_turn(self.tokenizer)
        self._seeds = itertools.repeat(None) if seed is None else (n % 2**64 for n in itertools.count(seed))
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything that was said."""
        self._initial_state = self.model.initial_state(1)
        self._stream: Stream | None = None
        #: Whether the state has read the end of the last answer: its mark, or its line break.
        self.is_ended = True

    @property
    def state(self) -> LanguageModelState:
        """The state after all that was read and written so far."""
        return self._initial_state if self._stream is None else self._stream.state

    def at_the_end_of_a_turn(self) -> LanguageModelState:
        """The state with the end of the last answer, also where that was cut: one that `resume` takes."""
        if self.is_ended:
            return self.state
        token_ids = self.tokenizer.encode("\n" if self.end_of_turn is None else END_OF_TURN, start=False)
        return self.model.prefill([token_ids], state=self.state)

    def resume(self, state: LanguageModelState) -> None:
        """Go on from where another talk of this model was at the end of a turn.

        Raises:
            ValueError: the state is not of such a talk; this one is as before.
        """
        state = fitted("chat", state, self.model.initial_state(1))
        if state.num_rows != 1:
            raise ValueError(f"chat: the state must be of one talk. Got one of {state.num_rows} rows.")
        self.start_anew()
        self._initial_state = state

    def answer(self, message: str) -> Iterator[str]:
        """Read a message; the model then writes as the pieces are taken.

        A piece is what one token makes certain, which may be nothing. Whoever stops taking them has cut the answer,
        and the talk goes on from there.

        Raises:
            ValueError: the tokenizer does not take the message, or it holds a mark of turns; the talk is as before.
        """
        state = self.state
        token_ids = self.tokenizer.encode(self._framed(message, state), start=_is_new(state))
        stop_ids = {*self.tokenizer.stop_ids}
        if self.end_of_turn is not None:
            stop_ids.add(self.end_of_turn)
        self._stream = stream = self.model.stream(
            [token_ids], self.most_tokens, sampler=self.sampler, seed=next(self._seeds), stop_ids=stop_ids, state=state
        )
        self.is_ended = False
        return self._pieces(stream)

    def _framed(self, message, state):
        """The message with what stands around it."""
        if self.end_of_turn is None:
            return ("" if self.is_ended else "\n") + message + "\n"
        return chat_prompt(message) if _is_new(state) else next_turn(message, ended=self.is_ended)

    def _pieces(self, stream):
        decoder = IncrementalDecoder(self.tokenizer, is_first=False)
        has_words = False
        for (token_id,) in stream:
            piece = decoder.push(int(token_id))
            has_words = has_words or bool(piece.strip())
            if self.end_of_turn is None:
                self.is_ended = has_words and "\n" in piece
            else:
                self.is_ended = token_id == self.end_of_turn
            yield piece
            if self.is_ended:
                return
        yield decoder.flush()


def _is_new(state):
    return not ops.convert_to_numpy(state.tokens)[0]
