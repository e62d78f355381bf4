"""Numbers for Prometheus."""

from collections.abc import Callable, Iterator
from typing import Any

#: Upper ends of the classes of times, in seconds.
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The metrics of one application, in a registry of its own.

    Args:
        measure: the engine's, which is asked when somebody reads them.
    """

    def __init__(self, measure: Callable[[], Any]):
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._measure = measure
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.requests = Counter(
            "keras_griffin_requests", "Requests by route and status", ["route", "status"], registry=self._registry
        )
        self.first_token_seconds, self.answer_seconds = (
            Histogram(f"keras_griffin_{name}_seconds", text, buckets=SECONDS, registry=self._registry)
            for name, text in (
                ("first_token", "From a request, once it is read, to its first token"),
                ("answer", "From a request, once it is read, to the end of its answer"),
            )
        )

    def collect(self) -> Iterator[Any]:
        """The engine's numbers, as a registry asks for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        measures = self._measure()
        for name, text in (
            ("tokens_read", "Tokens of prompts that were read"),
            ("tokens_found", "Tokens of prompts that were found in a kept state"),
            ("tokens_written", "Tokens of answers"),
        ):
            yield CounterMetricFamily(f"keras_griffin_{name}", text, getattr(measures, name))
        for name, text in (
            ("running", "Answers that are being written"),
            ("waiting", "Answers that wait, or whose prompts are being read"),
            ("slots", "Answers that are written at once at most"),
            ("kept_states", "States that are kept"),
            ("kept_bytes", "Their size"),
        ):
            yield GaugeMetricFamily(f"keras_griffin_{name}", text, getattr(measures, name))

    def text(self) -> bytes:
        """All of them, in Prometheus's format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)
