"""From requests to the engine's jobs."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from keras_griffin.serving.engine.job import Event, Job
from keras_griffin.serving.http.chat_format import segments_of
from keras_griffin.serving.http.fields import Limits, chat_fields, completion_fields, fields_of
from keras_griffin.serving.http.refusal import Refusal
from keras_griffin.serving.http.signed import SignedStates
from keras_griffin.tokenizers.chat import ChatFormat

#: What is smaller is 0 in float32.
SMALLEST = float(np.finfo("float32").tiny)


class Prompt(NamedTuple):
    """What one group of choices continues."""

    segments: Sequence[np.ndarray]
    #: With which each of its answers begins.
    echo: str = ""


@dataclass
class Asked:
    """What a request asks for."""

    is_chat: bool
    prompts: list[Prompt]
    #: Choices of each prompt.
    n: int
    is_streamed: bool
    includes_usage: bool
    #: What all jobs share, by the names of `Job`.
    shared: dict[str, Any] = field(repr=False)

    def jobs(self, deliver: Callable[[int, Event], None]) -> list[list[Job]]:
        """The jobs of each prompt; `deliver` also gets the index of the choice."""

        def job(prompt, i, j):
            index = i * self.n + j
            return Job(prompt.segments, deliver=lambda event: deliver(index, event), index=j, **self.shared)

        return [[job(prompt, i, j) for j in range(self.n)] for i, prompt in enumerate(self.prompts)]


class Protocol:
    """Reads requests to one model.

    Args:
        name: of the model.
        tokenizer: its own.
        vocabulary_size: the model's.
        limits: of a request.
        signed: reads the states of clients.
    """

    def __init__(self, name: str, tokenizer, vocabulary_size: int, limits: Limits, signed: SignedStates):
        self.name, self.tokenizer, self.vocabulary_size = name, tokenizer, vocabulary_size
        self.limits, self.signed = limits, signed
        self.chat_format = ChatFormat(tokenizer)
        self._completion_fields, self._chat_fields = completion_fields(limits), chat_fields(limits)

    def completion(self, body: bytes) -> Asked:
        """What a body for `/v1/completions` asks for."""
        fields = self._fields(body, self._completion_fields)
        echo, logprobs, given = fields["echo"], fields["logprobs"], fields["prompt"]
        if fields["best_of"] not in (None, fields["n"]):
            raise Refusal(f"best_of must be n. Got {fields['best_of']} and {fields['n']}.", param="best_of")
        if not fields["max_tokens"] and not echo:
            raise Refusal("max_tokens must be at least 1 without echo. Got 0.", param="max_tokens")
        is_list = isinstance(given, list) and not isinstance(given[0], int)
        given = given if is_list else [given]
        if len(given) > self.limits.prompts:
            raise Refusal(f"prompt must have at most {self.limits.prompts} rows. Got {len(given)}.", param="prompt")
        if len(given) * fields["n"] > self.limits.all_choices:
            rule = f"n must be such that all prompts have at most {self.limits.all_choices} choices"
            raise Refusal(f"{rule}. Got {fields['n']} for {len(given)} prompts.", param="n")
        state, _ = self._state(fields, len(given))
        prompts = [self._prompt(each, state is None, echo) for each in given]
        scores = {"top_logprobs": logprobs, "scores_prompt": echo and logprobs is not None}
        return self._asked(fields, False, prompts, state=state, most_tokens=fields["max_tokens"], **scores)

    def chat(self, body: bytes) -> Asked:
        """What a body for `/v1/chat/completions` asks for."""
        fields = self._fields(body, self._chat_fields)
        if fields["top_logprobs"] is not None and not fields["logprobs"]:
            raise Refusal("top_logprobs must go with logprobs: true.", param="top_logprobs")
        state, is_ended = self._state(fields, 1)
        chat = self.chat_format
        segments = segments_of(chat, fields["messages"], is_new=state is None, is_ended=is_ended)
        given = [each for name in ("max_completion_tokens", "max_tokens") if (each := fields[name]) is not None]
        most_tokens = min(given, default=self.limits.tokens)
        top_logprobs = (fields["top_logprobs"] or 0) if fields["logprobs"] else None
        lines = chat.end_of_turn is None
        ends = {"is_line": lines, "stop_ids": frozenset(() if lines else [chat.end_of_turn])}
        prompts = [Prompt(segments)]
        return self._asked(
            fields, True, prompts, state=state, most_tokens=most_tokens, top_logprobs=top_logprobs, **ends
        )

    def is_ended(self, last_token: int | None, reason: str) -> bool:
        """Whether an answer ended with what ends a chat's."""
        if last_token is None or reason != "stop":
            return False
        if self.chat_format.end_of_turn is not None:
            return last_token == self.chat_format.end_of_turn
        return b"\n" in self.tokenizer.token_bytes(last_token)

    def check_name(self, name: str | None) -> None:
        """Refuse any model but ours."""
        if name is None:
            raise Refusal(f"model must be {self.name!r}. Got none.", param="model")
        if name != self.name:
            message = f"model must be {self.name!r}. Got {name!r}."
            raise Refusal(message, 404, param="model", code="model_not_found")

    def _fields(self, body, table):
        fields = fields_of(body, table)
        self.check_name(fields["model"])
        return fields

    def _asked(self, fields, is_chat, prompts, *, stop_ids=frozenset(), **shared):
        """The rest, which both have."""
        for prompt in prompts:
            self._check_length(prompt, "messages" if is_chat else "prompt")
        stop, seed, temperature = fields["stop"], fields["seed"], fields["temperature"]
        shared |= {
            "temperature": temperature if temperature >= SMALLEST else 0.0,
            "top_p": max(fields["top_p"], SMALLEST),
            "seed": secrets.randbits(64) if seed is None else seed % 2**64,
            "stop_ids": stop_ids | {*self.tokenizer.stop_ids},
            "stop_strings": (stop,) if isinstance(stop, str) else tuple(stop),
            "returns_state": bool(fields["state"]),
            "seconds": self.limits.seconds,
        }
        includes_usage = fields["stream_options"].get("include_usage", False)
        return Asked(is_chat, prompts, fields["n"], fields["stream"], includes_usage, shared)

    def _state(self, fields, num_prompts):
        """The state that a request brings, and whether it has read the end of an answer."""
        if fields["state"] and (fields["n"], num_prompts) != (1, 1):
            raise Refusal("state must go with one prompt and n: 1.", param="state")
        return self.signed.read(fields["state"]) if isinstance(fields["state"], str) else (None, True)

    def _prompt(self, given, is_new, echo):
        """A text or a list of ids as one segment."""
        is_text = isinstance(given, str)
        token_ids = self.tokenizer.encode(given, start=is_new) if is_text else given
        for token_id in () if is_text else token_ids:
            if not 0 <= token_id < self.vocabulary_size:
                rule = f"ids at least 0 and below the vocabulary's size {self.vocabulary_size}"
                raise Refusal(f"prompt must have {rule}. Got {token_id}.", param="prompt")
        if not token_ids and is_new:
            if self.tokenizer.start_id is None:
                raise Refusal("prompt must not be empty, because the model has no start token.", param="prompt")
            token_ids = [self.tokenizer.start_id]
        echoed = (given if is_text else self.tokenizer.decode(token_ids)) if echo else ""
        return Prompt([np.array(token_ids, "int32")], echoed)

    def _check_length(self, prompt, param):
        length = sum(map(len, prompt.segments))
        if length > self.limits.prompt_tokens:
            raise Refusal(
                f"{param} must have at most {self.limits.prompt_tokens} tokens. Got {length}.",
                param=param,
                code="context_length_exceeded",
            )
