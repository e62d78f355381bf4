import pytest

from keras_griffin.serving.engine.engine import Measures
from keras_griffin.serving.http.metrics import Metrics

pytestmark = pytest.mark.any_backend


def values(metrics):
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_the_engines_numbers_are_those_of_the_moment():
    now = [Measures(1, 2, 64, 3, 4000, 50, 60, 70)]
    metrics = Metrics(lambda: now[0])
    found = values(metrics)
    wanted = {"running": 1, "waiting": 2, "slots": 64, "kept_states": 3, "kept_bytes": 4000}
    wanted |= {"tokens_read_total": 50, "tokens_found_total": 60, "tokens_written_total": 70}
    assert {name: found[f"keras_griffin_{name}"] for name in wanted} == wanted
    now[0] = now[0]._replace(running=5)
    assert values(metrics)["keras_griffin_running"] == 5


def test_each_application_counts_its_own():
    metrics, other = (Metrics(lambda: Measures(*range(8))) for _ in range(2))
    metrics.requests.labels("/", 200).inc()
    metrics.first_token_seconds.observe(0.03)
    metrics.answer_seconds.observe(3)
    name = 'keras_griffin_requests_total{route="/",status="200"}'
    found = values(metrics)
    assert found[name] == 1 and name not in values(other)
    assert found['keras_griffin_first_token_seconds_bucket{le="0.05"}'] == 1
    assert found['keras_griffin_first_token_seconds_bucket{le="0.025"}'] == 0
    assert found["keras_griffin_answer_seconds_sum"] == 3
