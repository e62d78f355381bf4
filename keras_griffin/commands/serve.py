"""Serve a model to programs that speak OpenAI's API, and to browsers.

MODEL is what --model of chat names. The server shares one running batch among all requests, and
keeps the state after each message of a conversation, so that the next turn reads only what is new.

It listens on this machine alone. To listen on another --host, set KERAS_GRIFFIN_API_KEY: clients
then send that key, as "Authorization: Bearer KEY". KERAS_GRIFFIN_STATE_KEY signs the states that
clients hold; servers with the same one and the same model can continue each other's. SIGTERM and
Ctrl-C refuse new requests and answer those that have been accepted; a second Ctrl-C does not.
"""

import argparse
import ipaddress
import logging
import os
import socket
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError, refusals
from keras_griffin.commands.shared.options import MODEL, add_adapter, add_dtype, add_number, number

API_KEY = "KERAS_GRIFFIN_API_KEY"
port = number(int, lambda value: 0 <= value < 2**16, "an integer from 0 to 65535")
kept = number(int, lambda value: value >= 0, "an integer of at least 0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    add_adapter(parser)
    add_dtype(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add_number(parser, "--port", 8000, "0 takes a free one", port)
    parser.add_argument("--name", help="the model's name for clients (default: that of the folder or file)")
    add_number(parser, "--slots", 64, "answers that are written at once")
    add_number(parser, "--waiting", 256, "answers that may wait for a slot")
    add_number(parser, "--tokens", 4096, "maximum per answer")
    add_number(parser, "--prompt-tokens", 1 << 17, "maximum per prompt")
    add_number(parser, "--seconds", 600.0, "maximum per answer")
    add_number(parser, "--kept-megabytes", 256, "of states that are kept for later turns", kept)


def run(arguments: argparse.Namespace) -> int:
    """Load the model, and serve it until a signal ends that."""
    key = os.environ.get(API_KEY)
    if not key and not is_loopback(arguments.host):
        raise CommandError(
            f"serve: --host must be this machine's own, such as 127.0.0.1, unless {API_KEY} is set. "
            f"Got {arguments.host!r}."
        )
    uvicorn = import_uvicorn()
    # Before the model is loaded, which takes its time.
    with listening_socket(arguments.host, arguments.port) as listener:
        # In a thread that ends, and with it OpenMP's threads for it. If they stayed, PyTorch would have more threads
        # than cores, and the engine's would sleep between two operations: a token would take twice as long.
        # Not one of `concurrent.futures`, which Ctrl-C would wait for.
        with ThreadPool(1) as loader:
            application = loader.apply(make_application, (arguments, key))
            loader.close()
            loader.join()
        log_to_stderr()
        config = uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="on",
            server_header=False,
            # Answers end by themselves; a client that does not take its own must not keep the server from ending.
            timeout_graceful_shutdown=int(arguments.seconds) + 60,
        )
        serve(uvicorn, config, listener, arguments.host)
    return 0


def import_uvicorn():
    """The package that serves the application; without it, an error that names the extra."""
    try:
        import uvicorn
    except ImportError as error:
        raise CommandError("serve: uvicorn must be installed: pip install 'keras-griffin[serve]'.") from error
    return uvicorn


def make_application(arguments: argparse.Namespace, api_key: str | None):
    """The application of the model and the options."""
    from keras_griffin.commands.shared.load import keep_programs, load_text_model
    from keras_griffin.serving import app

    keep_programs("serve")
    with refusals(ImportError):
        model = load_text_model("serve", arguments.model, arguments.dtype, adapter=arguments.adapter, option="MODEL")
        return app(
            model,
            name=arguments.name or Path(arguments.model).stem,
            slots=arguments.slots,
            most_waiting=arguments.waiting,
            most_tokens=arguments.tokens,
            most_prompt_tokens=arguments.prompt_tokens,
            seconds=arguments.seconds,
            kept_bytes=arguments.kept_megabytes * 10**6,
            api_key=api_key or None,
        )


def serve(uvicorn, config, listener: socket.socket, host: str) -> None:
    """Run the server, and say where it is once it listens."""

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            name = f"[{host}]" if ":" in host else host
            print(f"Serving at http://{name}:{listener.getsockname()[1]}", flush=True)

    Server(config).run([listener])


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a host's address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket of that address, which a server can listen on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # It lets a server follow another at once; on Windows it would let two share a port.
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CommandError(
            f"serve: --host and --port must be free to listen on. Got {host!r} and {port}: {error.strerror}."
        ) from error
    return listener


def log_to_stderr() -> None:
    """A line for each request."""
    logger = logging.getLogger("keras_griffin.serving")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
