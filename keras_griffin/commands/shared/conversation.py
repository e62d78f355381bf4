"""A conversation of any length in one state of constant size."""

import itertools
import os
from collections.abc import Iterator
from typing import cast

from keras import ops

from keras_griffin.generation import Greedy, LanguageModelState, TopP, load_state, save_state
from keras_griffin.generation.generate import Stream
from keras_griffin.generation.state import fitted
from keras_griffin.models import LanguageModel
from keras_griffin.tokenizers import Tokenizer
from keras_griffin.tokenizers.chat import ChatFormat
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder


class Conversation:
    """A conversation in alternating turns of a `ChatFormat`; the model, which has a tokenizer, reads each token once.

    Turn n uses seed + n.
    """

    def __init__(self, model: LanguageModel, most_tokens: int, sampler: Greedy | TopP, seed: int | None = None):
        self.model = model
        self.most_tokens = most_tokens
        self.sampler = sampler
        self.tokenizer = cast(Tokenizer, model.tokenizer)
        self.format = ChatFormat(self.tokenizer)
        self._seeds = itertools.repeat(None) if seed is None else (n % 2**64 for n in itertools.count(seed))
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the conversation."""
        self._initial_state = self.model.initial_state(1)
        self._stream: Stream | None = None
        #: The path of the file that the conversation was last saved to or loaded from.
        self.file: str | None = None
        #: Whether the state includes the end of the last answer: its marker, or its line break.
        self.is_ended = True

    @property
    def state(self) -> LanguageModelState:
        """The state after everything read and written so far."""
        return self._initial_state if self._stream is None else self._stream.state

    def at_the_end_of_a_turn(self) -> LanguageModelState:
        """The state including the end of the last answer, even if that was cut short: a state for `resume`."""
        if self.is_ended:
            return self.state
        return self.model.prefill([self.format.end], state=self.state)

    def resume(self, state: LanguageModelState) -> None:
        """Resume a conversation of this model from its state at the end of a turn."""
        state = fitted("chat", state, self.model.initial_state(1))
        if state.num_rows != 1:
            raise ValueError(f"chat: the state must be of one conversation. Got {state.num_rows} rows.")
        self.start_anew()
        self._initial_state = state

    def save(self, path: str) -> None:
        """Save the state at the end of a turn."""
        save_state(self.at_the_end_of_a_turn(), path)
        self.file = path

    def load(self, path: str) -> None:
        """Resume the conversation that was saved in a file."""
        self.resume(load_state(path))
        self.file = os.path.realpath(path)

    def answer(self, message: str) -> Iterator[str]:
        """Read a message; the model generates the answer as its pieces, some of them empty, are consumed.

        A consumer that stops early cuts the answer, and the conversation continues from there. A message that the
        tokenizer does not accept, or with a turn marker, is a ValueError and changes nothing.
        """
        state = self.state
        token_ids = self.format.question(message, is_first=_is_new(state), is_ended=self.is_ended)
        stop_ids = {*self.tokenizer.stop_ids}
        if self.format.end_of_turn is not None:
            stop_ids.add(self.format.end_of_turn)
        self._stream = stream = self.model.stream(
            [token_ids], self.most_tokens, sampler=self.sampler, seed=next(self._seeds), stop_ids=stop_ids, state=state
        )
        self.is_ended = False
        return self._pieces(stream)

    def _pieces(self, stream):
        decoder = IncrementalDecoder(self.tokenizer, is_first=False)
        has_words = False
        for (token_id,) in stream:
            piece = decoder.push(int(token_id))
            has_words = has_words or bool(piece.strip())
            if self.format.end_of_turn is None:
                self.is_ended = has_words and "\n" in piece
            else:
                self.is_ended = token_id == self.format.end_of_turn
            yield piece
            if self.is_ended:
                return
        yield decoder.flush()


def _is_new(state):
    return not ops.convert_to_numpy(state.tokens)[0]
