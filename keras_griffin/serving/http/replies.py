"""From the engine's events to JSON."""

import json
import secrets
import time
from typing import Any

from keras_griffin.serving.engine.job import Ended, Event, Failed, Read, Token
from keras_griffin.serving.http.logprobs import ChatLogprobs, CompletionLogprobs
from keras_griffin.serving.http.protocol import Asked
from keras_griffin.serving.http.refusal import Refusal

DONE = b"data: [DONE]\n\n"


class Choice:
    """One answer as far as it is known, and what of it has not been sent."""

    def __init__(self, asked: Asked, index: int, tokenizer):
        self._is_chat, self.index = asked.is_chat, index
        self._echo = asked.prompts[index // asked.n].echo
        self._logprobs: Any = None
        if asked.shared["top_logprobs"] is not None:
            is_first = asked.shared.get("scores_prompt", False)
            self._logprobs = (
                ChatLogprobs(tokenizer) if asked.is_chat else CompletionLogprobs(tokenizer, is_first=is_first)
            )
        #: All of it.
        self.text = ""
        self._texts, self._scores = list[str](), list[Any]()
        self.found = self.written = 0
        self.last_token: int | None = None
        self.reason: str | None = None
        #: For the client, signed.
        self.state: str | None = None

    def take(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, Token):
            self.written += 1
            self.last_token = event.token_id
            self._say(event.text)
            self._scores.append(event.scored)
        elif isinstance(event, Read):
            self.found = event.found
            self._say(self._echo)
            self._scores.extend(event.scored)
        elif isinstance(event, Ended):
            self._say(event.text)
            self.reason = event.reason

    def _say(self, text):
        self.text += text
        self._texts.append(text)

    def piece(self, *, is_delta: bool) -> dict | None:
        """The JSON of what has come since the last piece; None if there is nothing to say."""
        text, scores = "".join(self._texts), self._scores
        self._texts, self._scores = [], []
        has_scores = self._logprobs is not None and bool(scores)
        if not (text or has_scores or self.reason):
            return None
        piece: dict[str, Any] = {"index": self.index}
        if not self._is_chat:
            piece["text"] = text
        elif is_delta:
            piece["delta"] = {"content": text} if text else {}
        else:
            piece["message"] = {"role": "assistant", "content": text, "refusal": None}
        piece["logprobs"] = self._logprobs.of(scores) if has_scores else None
        piece["finish_reason"] = self.reason
        if self.state is not None:
            piece["state"] = self.state
        return piece


class Reply:
    """The answer to a request, whole or in chunks of a stream."""

    def __init__(self, asked: Asked, model: str, tokenizer):
        self.asked = asked
        self.choices = [Choice(asked, index, tokenizer) for index in range(len(asked.prompts) * asked.n)]
        name, kind = ("chatcmpl", "chat.completion") if asked.is_chat else ("cmpl", "text_completion")
        self._head = {
            "id": f"{name}-{secrets.token_hex(12)}",
            "object": f"{kind}.chunk" if asked.is_chat and asked.is_streamed else kind,
            "created": int(time.time()),
            "model": model,
        }
        # The same in each chunk.
        self._before = f'data: {json.dumps(self._head)[:-1]}, "choices": ['
        self._after = '], "usage": null}\n\n' if asked.includes_usage else "]}\n\n"

    @property
    def is_over(self) -> bool:
        """Whether all choices have ended."""
        return all(choice.reason for choice in self.choices)

    @property
    def usage(self) -> dict:
        """The numbers of tokens; a prompt counts once, however many choices it has."""
        asked = self.asked
        read = sum(len(segment) for prompt in asked.prompts for segment in prompt.segments)
        written = sum(choice.written for choice in self.choices)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": sum(choice.found for choice in self.choices[:: asked.n])},
        }

    @property
    def whole(self) -> dict:
        """All of it, when it is over."""
        return {**self._head, "choices": [each.piece(is_delta=False) for each in self.choices], "usage": self.usage}

    def opening(self) -> bytes:
        """The first chunks of a chat, which say who speaks."""
        if not self.asked.is_chat:
            return b""
        opening = {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return b"".join(self._chunk({"index": choice.index, **opening}) for choice in self.choices)

    def chunks(self, indices) -> bytes:
        """Chunks with what these choices have not sent, and the last ones when all have ended."""
        pieces = (self.choices[index].piece(is_delta=True) for index in indices)
        chunks = b"".join(self._chunk(piece) for piece in pieces if piece is not None)
        if not self.is_over:
            return chunks
        if self.asked.includes_usage:
            chunks += f"data: {json.dumps({**self._head, 'choices': [], 'usage': self.usage})}\n\n".encode()
        return chunks + DONE

    def _chunk(self, piece):
        return f"{self._before}{json.dumps(piece)}{self._after}".encode()


def refusal_of(event: Failed) -> Refusal:
    """What a client is told of an answer that failed."""
    return Refusal(event.message, event.status)


def error_chunk(refusal: Refusal) -> bytes:
    """A failure in the middle of a stream."""
    return f"data: {json.dumps(refusal.content)}\n\n".encode()
