"""The server as an ASGI application."""

import os
import secrets
from typing import Any

from keras_griffin.checks import COUNT, POSITIVE, checked, integer_from
from keras_griffin.models import LanguageModel
from keras_griffin.serving.engine.engine import Engine
from keras_griffin.serving.http.fields import Limits
from keras_griffin.serving.http.gate import Gate
from keras_griffin.serving.http.protocol import Protocol
from keras_griffin.serving.http.routes import Routes
from keras_griffin.serving.http.signed import SignedStates

#: Where the key that signs states is, if it is no argument.
STATE_KEY = "KERAS_GRIFFIN_STATE_KEY"


def app(
    model: LanguageModel,
    *,
    name: str | None = None,
    slots: int = 64,
    most_tokens: int = 4096,
    most_prompt_tokens: int = 1 << 17,
    most_waiting: int = 256,
    most_body_bytes: int = 1 << 20,
    seconds: float = 600.0,
    kept_bytes: int = 1 << 28,
    kept_every: int = 256,
    api_key: str | None = None,
    state_key: str | None = None,
    engine: Engine | None = None,
) -> Any:
    """An OpenAI-compatible server of a language model, as an ASGI application.

    It answers `/v1/models`, `/v1/completions` and `/v1/chat/completions` as OpenAI does, streamed and not, and has a
    page to chat at `/`, `/health`, and `/metrics` for Prometheus. All requests share one running batch; what one gets
    does not depend on the others. Any ASGI server runs it; its lifespan starts and closes the engine, which answers
    what it has accepted.

    Args:
        model: a `LanguageModel` with a tokenizer.
        name: the model's for clients; None takes `model.name`.
        slots: how many answers are written at once, and how many choices a prompt has at most.
        most_tokens: of an answer; of a chat's, if its request does not say.
        most_prompt_tokens: of a prompt.
        most_waiting: how many answers may wait for a slot; others are refused with 429.
        most_body_bytes: of a request, beside a state of the client's.
        seconds: after so long an answer ends.
        kept_bytes: of the states kept for later prompts that begin alike.
        kept_every: a state is kept after each so many tokens of a prompt, beside that after each message.
        api_key: what `Authorization: Bearer` must give; None serves everybody.
        state_key: signs the states that clients hold, for all servers with that key and this model. None takes that of
            the environment, `KERAS_GRIFFIN_STATE_KEY`, or else a random one, for as long as this application lives.
        engine: another than that of these arguments, with as many slots.

    Returns:
        A `starlette.applications.Starlette`.

    Raises:
        ImportError: starlette or prometheus-client is not installed; the extra `serve` has them.
        ValueError: the model has no tokenizer, or a limit is not a positive number.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.serving import app
        >>> from keras_griffin.tokenizers import ByteTokenizer
        >>> config = GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8)
        >>> app(Griffin(config, tokenizer=ByteTokenizer()), name="mine", slots=8)  # for uvicorn.run
        <starlette.applications.Starlette object at ...>
    """
    try:
        import prometheus_client  # noqa: F401
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
    except ImportError as error:
        rule = "app: starlette and prometheus-client must be installed: pip install 'keras-griffin[serve]'."
        raise ImportError(rule) from error
    if model.tokenizer is None:
        raise ValueError("app: the model must have a tokenizer; set model.tokenizer. Got a model without one.")
    counts = {"slots": slots, "most_tokens": most_tokens, "most_prompt_tokens": most_prompt_tokens}
    counts |= {"most_waiting": most_waiting, "most_body_bytes": most_body_bytes, "kept_every": kept_every}
    for argument, value in counts.items():
        checked("app", COUNT, **{argument: value})
    checked("app", POSITIVE, seconds=seconds)
    checked("app", integer_from(0), kept_bytes=kept_bytes)
    if engine is None:
        engine = Engine(model, slots=slots, kept_bytes=kept_bytes, kept_every=kept_every, most_waiting=most_waiting)
    signed = SignedStates(model, state_key or os.environ.get(STATE_KEY) or secrets.token_hex(32), most_body_bytes)
    limits = Limits(most_tokens, most_prompt_tokens, most_waiting, min(slots, 128), seconds, slots + most_waiting)
    protocol = Protocol(name or model.name, model.tokenizer, model.tokenizer.vocabulary_size, limits, signed)
    routes = Routes(engine, protocol, most_body_bytes + signed.most_characters, slots + most_waiting)
    application = Starlette(
        routes=routes.table(),
        lifespan=routes.lifespan,
        middleware=[Middleware(Gate, api_key=api_key, metrics=routes.metrics)],
        exception_handlers=routes.exception_handlers(),
    )
    application.router.redirect_slashes = False
    return application
