"""The fields of requests, each with the rule that its value obeys and what it is where it is left out or null."""

import json
from typing import Any, NamedTuple

from keras_griffin.checks import FLAG, Rule, is_integer, is_number
from keras_griffin.names import did_you_mean
from keras_griffin.serving.http.refusal import Refusal, received


class Limits(NamedTuple):
    """What one request may ask for at most."""

    tokens: int
    prompt_tokens: int
    prompts: int
    #: Of one prompt.
    choices: int
    seconds: float
    #: Of all prompts together: those that the engine can hold.
    all_choices: int


def is_text(value: object) -> bool:
    """Whether a value is a text of characters only: JSON can have half a surrogate pair."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _integer(least, most):
    return Rule(f"an integer from {least} to {most}", lambda value: is_integer(value) and least <= value <= most)


def _number(most):
    return Rule(f"a number from 0 to {most}", lambda value: is_number(value) and 0 <= value <= most)


def _only(words, *neutral):
    """The rule of a field that asks for what the server has not, unless it has one of these values."""
    return Rule(words, lambda value: any(type(value) is type(each) and value == each for each in neutral))


def _is_stop(value):
    stops = [value] if isinstance(value, str) else value
    return isinstance(stops, list) and len(stops) <= 4 and all(is_text(each) and 0 < len(each) <= 100 for each in stops)


def _is_prompt(value):
    if isinstance(value, str):
        return is_text(value)
    is_list = isinstance(value, list) and bool(value)
    return is_list and (all(map(is_text, value)) or _are_ids(value) or all(map(_are_ids, value)))


def _are_ids(value):
    return isinstance(value, list) and all(type(each) is int for each in value)


_ANY = Rule("anything", lambda value: True)
_TEXT = Rule("a text", is_text)
_NO_PENALTY = _only("0, because the server has no penalties", 0, 0.0)
_NO_CALLS = "none or auto, because the server calls no tools"
_NO_SOUND = "left out, because the server writes text only"
#: OpenAI pads its chunks unless told not to.
_STREAM = ("include_usage", "include_obfuscation")
_STREAM_OPTIONS = Rule(
    'an object with "include_usage" as true or false',
    lambda value: isinstance(value, dict) and all(name in _STREAM and FLAG.holds(value[name]) for name in value),
)


def _shared(limits) -> dict[str, tuple[Rule, Any]]:
    return {
        "model": (_TEXT, None),
        "n": (_integer(1, limits.choices), 1),
        "stream": (FLAG, False),
        "stream_options": (_STREAM_OPTIONS, {}),
        "stop": (Rule("a text of 1 to 100 characters, or a list of up to 4", _is_stop), []),
        "seed": (_integer(-(2**63), 2**64 - 1), None),
        "temperature": (_number(2), 1.0),
        "top_p": (Rule("a number above 0 and at most 1", lambda x: is_number(x) and 0 < x <= 1), 1.0),
        "state": (Rule("true, false or a state from an answer", lambda x: FLAG.holds(x) or is_text(x)), False),
        # What needs no action.
        **dict.fromkeys(("user", "metadata", "store", "service_tier", "safety_identifier"), (_ANY, None)),
        **dict.fromkeys(("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"), (_ANY, None)),
        # What the server has not.
        **dict.fromkeys(("frequency_penalty", "presence_penalty"), (_NO_PENALTY, None)),
        "logit_bias": (_only("empty, because the server changes no logits", {}), None),
    }


def completion_fields(limits: Limits) -> dict[str, tuple[Rule, Any]]:
    """Those of `/v1/completions`."""
    prompt = "a text, a list of texts, a list of token ids, or a list of such lists"
    return {
        **_shared(limits),
        "prompt": (Rule(prompt, _is_prompt), ""),
        "max_tokens": (_integer(0, limits.tokens), min(16, limits.tokens)),
        "echo": (FLAG, False),
        "logprobs": (_integer(0, 5), None),
        "best_of": (_integer(1, limits.choices), None),
        "suffix": (_only("empty, because the server only continues texts", ""), None),
    }


def chat_fields(limits: Limits) -> dict[str, tuple[Rule, Any]]:
    """Those of `/v1/chat/completions`."""
    return {
        **_shared(limits),
        "messages": (Rule("a list of messages", lambda value: isinstance(value, list)), []),
        **dict.fromkeys(("max_tokens", "max_completion_tokens"), (_integer(1, limits.tokens), None)),
        "logprobs": (FLAG, False),
        "top_logprobs": (_integer(0, 20), None),
        "parallel_tool_calls": (FLAG, None),
        "prediction": (_ANY, None),
        # A model may leave the tools alone that it is offered, as this one does.
        **dict.fromkeys(("tools", "functions"), (Rule("a list", lambda value: isinstance(value, list)), None)),
        **dict.fromkeys(("tool_choice", "function_call"), (_only(_NO_CALLS, "none", "auto"), None)),
        "response_format": (_only("of type text, because the server follows no format", {"type": "text"}), None),
        "modalities": (_only(_NO_SOUND, ["text"]), None),
        "audio": (_only(_NO_SOUND), None),
        "web_search_options": (_only("left out, because the server searches nothing"), None),
        "moderation": (_only("left out, because the server moderates nothing"), None),
        "reasoning_effort": (_only("none, because the model does not reason apart from its answer", "none"), None),
        "verbosity": (_only("medium, because the model knows no other", "medium"), None),
    }


def fields_of(body: bytes, table: dict[str, tuple[Rule, Any]]) -> dict[str, Any]:
    """The values of all fields of a request."""
    content = _object(body)
    for name in content:
        if name not in table:
            message = f"{received(name)} must be a field that the server knows{did_you_mean(name, table)}"
            raise Refusal(message, param=name)
    values = {}
    for name, (rule, default) in table.items():
        value = content.get(name)
        if value is not None and not rule.holds(value):
            raise Refusal(f"{name} must be {rule.words}. Got {received(value)}.", param=name)
        values[name] = default if value is None else value
    return values


def _object(body):
    """The JSON object in a body."""
    try:
        content = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "too many levels" if isinstance(error, RecursionError) else error
        raise Refusal(f"The body must be JSON in UTF-8. Got {reason}.") from error
    if not isinstance(content, dict):
        raise Refusal(f"The body must be a JSON object. Got {received(content)}.")
    return content


def _no_number(name):
    raise ValueError(f"{name}, which is no number of JSON")
