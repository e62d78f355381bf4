"""One thread and one batch for all, and what each gets: the tokens of `generate`, alone or beside others."""

import queue
import random
import threading
import time

import keras
import numpy as np
import pytest

from keras_griffin.generation import Temperature, TopP
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.engine import Engine, Full
from keras_griffin.serving.engine.job import Ended, Failed, Job, Read, Token
from keras_griffin.tokenizers import ByteTokenizer


def made(*block_pattern):
    """A small model of bytes; its head is sharpened, so that rounding can't choose among equal logits."""
    model = Griffin(GriffinConfig(256, 16, 2, num_heads=2, window=6, mlp_width=16, block_pattern=block_pattern))
    model.tokenizer = ByteTokenizer()
    return model


@pytest.fixture(scope="module")
def model():
    return made("recurrent", "local_mqa")


@pytest.fixture
def engine(model):
    engine = Engine(model, slots=4, kept_every=4)
    engine.start()
    yield engine
    engine.close()


def job(prompt, most_tokens, **options):
    """A job, and the queue of its events."""
    events = queue.Queue()
    segments = [
        np.array(segment, "int32") for segment in (prompt if prompt and isinstance(prompt[0], list) else [prompt])
    ]
    return Job(segments, most_tokens, events.put, **options), events


def until_the_end(events):
    """All events of a job."""
    found = [events.get(timeout=100)]
    while not isinstance(found[-1], Ended | Failed):
        found.append(events.get(timeout=100))
    return found


def run(engine, prompt, most_tokens, **options):
    """The events of one job."""
    one, events = job(prompt, most_tokens, **options)
    engine.submit([one])
    return until_the_end(events)


def tokens(events):
    return [event.token_id for event in events if isinstance(event, Token)]


def text(events):
    return "".join(event.text for event in events if isinstance(event, Token | Ended))


def expected(model, one):
    """What `generate` gives for a job."""
    sampler = "greedy"
    if one.temperature:
        sampler = Temperature(one.temperature) if one.top_p == 1 else TopP(one.top_p, one.temperature)
    prompt = one.token_ids
    options = {"sampler": sampler, "seed": one.seed, "stop_ids": one.stop_ids}
    return model.generate([prompt] * (one.index + 1), one.most_tokens, **options)[one.index][len(prompt) :].tolist()


def test_each_gets_what_generate_gives_however_others_come_and_go(model, engine):
    generator = random.Random(0)
    begin, jobs = [generator.randrange(256) for _ in range(12)], []
    for number in range(24):
        prompt = begin[: generator.randrange(12)] + [generator.randrange(256) for _ in range(generator.randrange(1, 6))]
        one, events = job(
            [prompt[:3], prompt[3:]],
            generator.randrange(1, 20),
            temperature=generator.choice([0, 0.7, 1.0]),
            top_p=generator.choice([1, 0.8]) if number > 12 else 1,
            seed=number,
            stop_ids=frozenset(range(0, 256, generator.choice([9, 200]))),
        )
        jobs.append((one, events))
        engine.submit([one])
        if number % 5 == 2:
            time.sleep(0.01)
        if number % 7 == 3:
            engine.cancel(one)
    for one, events in jobs:
        if not one.is_cancelled:
            found = until_the_end(events)
            wanted = expected(model, one)
            assert tokens(found) == wanted
            assert found[-1].reason == ("stop" if wanted[-1] in one.stop_ids else "length")


@pytest.mark.any_backend
def test_a_state_that_grows(engine):
    model = made("recurrent", "global_mqa")
    engine = Engine(model, slots=4, kept_every=4)
    engine.start()
    jobs = [job([number] * length, 90 // length, temperature=0) for number, length in enumerate((1, 2, 70, 3, 9))]
    for one, _ in jobs:
        engine.submit([one])
    for one, events in jobs:
        assert tokens(until_the_end(events)) == expected(model, one)
    # Continued from what was kept.
    assert run(engine, [2] * 70 + [1], 4, temperature=0)[0].found == 70
    assert tokens(run(engine, [2] * 70 + [5], 4, temperature=0)) == expected(
        model, job([2] * 70 + [5], 4, temperature=0)[0]
    )
    engine.close()


@pytest.mark.any_backend
def test_several_answers_to_one_prompt_are_rows_of_generate(model, engine):
    jobs = [job([1, 2, 3], 6, seed=5, index=index) for index in range(3)]
    engine.submit([one for one, _ in jobs])
    found = [until_the_end(events) for _, events in jobs]
    assert [tokens(events) for events in found] == [expected(model, one) for one, _ in jobs]
    assert engine.measure().tokens_read == 3


@pytest.mark.any_backend
def test_a_stop_string_and_a_line(model, engine):
    whole = text(run(engine, [65, 66], 40, temperature=1.0, seed=1))
    stop = whole[7:9]
    found = run(engine, [65, 66], 40, temperature=1.0, seed=1, stop_strings=(stop,))
    assert text(found) == whole[: whole.index(stop)] and found[-1].reason == "stop"


@pytest.mark.any_backend
def test_scores(model, engine):
    prompt = list(range(60, 70))
    found = run(engine, prompt, 5, temperature=0.5, seed=2, top_logprobs=2, scores_prompt=True)
    scored = [*found[0].scored, *(event.scored for event in found if isinstance(event, Token))]
    row = prompt + tokens(found)
    assert [each.token_id for each in scored] == row
    assert (scored[0].logprob, scored[0].top) == (None, ())
    np.testing.assert_allclose([each.logprob for each in scored[1:]], model.score([row])[0][1:], atol=1e-5)
    logits = keras.ops.convert_to_numpy(model(np.array([row])))[0].astype("float64")
    for each, before in zip(scored[1:], logits, strict=False):
        wanted = np.argsort(-before, kind="stable")[:2]
        assert [token_id for token_id, _ in each.top] == wanted.tolist()
        np.testing.assert_allclose([x for _, x in each.top], before[wanted] - np.log(np.exp(before).sum()), atol=1e-5)
    # Read before, and scored all the same.
    assert len(run(engine, prompt, 1, top_logprobs=0, scores_prompt=True)[0].scored) == 10


@pytest.mark.any_backend
def test_the_next_turn_reads_what_is_new(engine):
    first = [[1, 2, 3], [4, 5, 6, 7]]
    answer = run(engine, first, 5, temperature=0)
    assert answer[0] == Read(0)
    second = [*first, tokens(answer), [8, 9]]
    assert run(engine, second, 2, temperature=0)[0] == Read(12)
    # Another answer than ours: what is before it is known.
    assert run(engine, [*first, [250], [8, 9]], 2, temperature=0)[0] == Read(7)
    assert run(engine, second, 0)[0] == Read(14)
    assert run(engine, [[1, 2, 3, 4, 5]], 0)[0] == Read(4)


@pytest.mark.any_backend
def test_a_state_goes_to_the_client_and_comes_back(model, engine):
    first = run(engine, [1, 2, 3], 4, temperature=0, returns_state=True)
    state = first[-1].state
    prompt = [1, 2, 3, *tokens(first)]
    wanted = expected(model, job([*prompt, 9], 5, temperature=0)[0])
    found = run(engine, [9], 5, temperature=0, state=state)
    assert tokens(found) == wanted and found[0] == Read(0)
    # Nothing new: it goes on.
    assert tokens(run(engine, [], 3, temperature=0, state=state)) == expected(model, job(prompt, 3, temperature=0)[0])
    # What follows another past is not kept as if it began a text.
    assert run(engine, [9, 9], 1, temperature=0)[0] == Read(0)
    with pytest.raises(ValueError, match="^serve: the state must be one of this model"):
        run(engine, [1], 1, state=made("recurrent").initial_state(1))


@pytest.mark.any_backend
def test_a_full_queue_takes_none(model):
    engine = Engine(model, slots=2, most_waiting=1)
    jobs = [job([1], 3)[0] for _ in range(4)]
    engine.submit(jobs[:2])
    with pytest.raises(ValueError, match="^serve: the jobs of one prompt must be at most the 2 slots. Got 3.$"):
        engine.submit(jobs[:3])
    with pytest.raises(Full, match="the queue must have room. Got 2 jobs"):
        engine.submit(jobs[2:])
    engine.submit(jobs[2:3])
    assert engine.measure().waiting == 3 and engine.seconds_to_wait() >= 1
    engine.start()
    engine.close()
    assert engine.measure().waiting == 0
    with pytest.raises(Full):
        engine.submit(jobs[:1])


@pytest.mark.any_backend
def test_a_cancelled_job_leaves_its_slot(model):
    engine = Engine(model, slots=1)
    endless, events = job([1], 10**9)
    engine.submit([endless])
    engine.start()
    assert isinstance(events.get(timeout=100), Read)
    other, of_other = job([2], 2)
    engine.submit([other])
    engine.cancel(endless)
    assert isinstance(until_the_end(of_other)[-1], Ended)
    engine.close()
    assert not any(isinstance(event, Ended | Failed) for event in events.queue)


@pytest.mark.any_backend
def test_time_is_limited(model):
    engine = Engine(model, slots=1)
    engine.start()
    endless, events = job([1], 10**9, seconds=0.2)
    late, of_late = job([2], 5, seconds=0.01)
    engine.submit([endless])
    engine.submit([late])
    assert until_the_end(events)[-1].reason == "length"
    assert until_the_end(of_late) == [Failed("No answer had begun after 0.01 s, the limit.", 504)]
    engine.close()


@pytest.mark.any_backend
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["step", "rearrange"])
def test_after_a_fault_nobody_waits(model, monkeypatch, where):
    engine = Engine(model, slots=1)
    jobs = [job([1], 9) for _ in range(3)]
    for one, _ in jobs:
        engine.submit([one])
    monkeypatch.setattr(engine._batch, where, lambda *answers: 1 / 0)
    engine.start()
    for _, events in jobs:
        assert until_the_end(events)[-1].status == 500
    engine._thread.join()
    assert not engine.is_alive
    with pytest.raises(Full):
        engine.submit([job([1], 9)[0]])


@pytest.mark.any_backend
def test_from_eight_threads(model, engine):
    found = {}

    def ask(number):
        found[number] = tokens(run(engine, [number, 5], 10, seed=number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: expected(model, job([number, 5], 10, seed=number)[0]) for number in range(8)}


@pytest.mark.any_backend
def test_ids_that_are_no_tokens_are_not_written():
    """A vocabulary may be padded."""
    model = Griffin(GriffinConfig(400, 16, 1, num_heads=1), tokenizer=ByteTokenizer())
    engine = Engine(model, slots=1)
    engine.start()
    found = run(engine, [65], 40, temperature=5.0, top_logprobs=20)
    assert len(tokens(found)) == 40 and max(tokens(found)) < 256
    assert all(token_id < 256 for event in found[1:-1] for token_id, _ in event.scored.top)
    engine.close()
