import contextlib
import json
import threading
import time
from types import SimpleNamespace

import httpx
import pytest
import uvicorn

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving import app
from keras_griffin.serving.engine.engine import Full, Measures
from keras_griffin.serving.engine.job import Ended, Read, Scored, Token
from keras_griffin.serving.http.answering import ignored
from keras_griffin.tokenizers import ByteTokenizer, SentencePieceTokenizer
from tests.tokenizers.conftest import MARKS, sentencepiece_proto

TINY = {"width": 16, "num_layers": 2, "num_heads": 2, "window": 8, "block_pattern": ("recurrent", "local_mqa")}


def letters(text, reason="stop", found=0):
    """A script: the answer is this text, a byte a token."""

    def events(job):
        def scored(token_id, logprob=-0.5):
            top = tuple((token_id + i, -0.5 - i) for i in range(job.top_logprobs or 0))
            return None if job.top_logprobs is None else Scored(token_id, logprob, top)

        prompt = [scored(int(token_id)) for token_id in job.token_ids] if job.scores_prompt else []
        prompt[:1] = [each._replace(logprob=None, top=()) for each in prompt[:1]]
        yield Read(found, tuple(prompt))
        for letter in text[: job.most_tokens]:
            yield Token(ord(letter), letter, scored(ord(letter)))
        yield Ended("", reason, job.state if job.returns_state else None)

    return events


class ScriptedEngine:
    """Delivers what a script, a generator of events for a job, says, from a thread for each request."""

    def __init__(self):
        self.script, self.room = letters("abc"), 100
        self.jobs, self.cancelled, self.only_read = [], [], []
        self.is_alive = False
        self.threads = []

    def start(self):
        self.is_alive = True

    def close(self):
        for thread in self.threads:
            thread.join()
        self.is_alive = False

    def submit(self, jobs):
        if len(jobs) > self.room:
            raise Full
        if jobs[0].deliver is ignored:
            self.only_read += jobs
            return
        self.jobs += jobs
        self.threads.append(threading.Thread(target=self._run, args=(jobs,)))
        self.threads[-1].start()

    def _run(self, jobs):
        for job in jobs:
            for event in self.script(job):
                if job.is_cancelled:
                    return
                job.deliver(event)

    def cancel(self, job):
        job.is_cancelled = True
        self.cancelled.append(job)

    def seconds_to_wait(self):
        return 6.5

    def measure(self):
        return Measures(1, 2, 64, 3, 4000, 50, 60, 70)


@contextlib.contextmanager
def running(application):
    """A server on a port of its own; a client of it, with the server and its port."""
    config = uvicorn.Config(application, port=0, ws="none", log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield SimpleNamespace(client=client, server=server, port=port)
    finally:
        server.should_exit = True
        thread.join()


class Served:
    """A running application with a scripted engine, and what tests ask of it."""

    def __init__(self, engine, at):
        self.engine, self.client, self.port, self.server = engine, at.client, at.port, at.server

    def post(self, path, body=None, **options):
        """`body` is what is asked beside the model's name; or `content` is the whole."""
        options = options if body is None else {"json": {"model": "tiny", **body}, **options}
        return self.client.post(f"/v1/{path}", **options)

    def complete(self, **body):
        return self.post("completions", body)

    def chat(self, *texts, **body):
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
        return self.post("chat/completions", {"messages": messages, **body})

    def chunks(self, response):
        """The objects of a stream, which must have ended as it should."""
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        *lines, done, end = response.text.split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.fixture(scope="session")
def script():
    """What makes scripts: the answer is a text, a byte a token."""
    return letters


@pytest.fixture(scope="session")
def bytes_model():
    return Griffin(GriffinConfig(vocabulary_size=256, **TINY), tokenizer=ByteTokenizer())


@pytest.fixture(scope="session")
def gemma_tokenizer():
    """One with Gemma's marks of turns."""
    options = {"remove_extra_whitespaces": False, "normalization_rule_name": "identity", "add_dummy_prefix": False}
    return SentencePieceTokenizer(sentencepiece_proto(user_defined_symbols=[*MARKS, "\n"], **options))


@pytest.fixture(scope="session")
def run_application():
    return running


@pytest.fixture(scope="session")
def scripted_engine():
    return ScriptedEngine


@pytest.fixture(scope="package")
def one_server(bytes_model):
    engine = ScriptedEngine()
    limits = {"slots": 8, "most_tokens": 100, "most_prompt_tokens": 50, "most_waiting": 16, "most_body_bytes": 5000}
    with running(app(bytes_model, name="tiny", state_key="k", engine=engine, **limits)) as at:
        yield Served(engine, at)


@pytest.fixture
def served(one_server):
    """The server of most tests, its engine as new."""
    engine = one_server.engine
    engine.script, engine.room = letters("abc"), 100
    engine.jobs, engine.cancelled, engine.only_read = [], [], []
    return one_server
