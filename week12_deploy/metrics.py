"""What is counted and measured, for Prometheus to fetch from /metrics."""

import os
from typing import Any

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of a process. Where several work side by side ($PROMETHEUS_MULTIPROC_DIR), /metrics adds them up."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "course_requests", "Requests, by route and status", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "course_request_seconds", "How long requests took", ("route",), buckets=SECONDS, registry=registry
        )
        self.open = Gauge(
            "course_requests_open", "Requests that are being answered", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.first_token = Histogram(
            "course_first_token_seconds", "How long the first words of a streamed answer took", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.answers = Counter(
            "course_answers",
            "Answers: given, refused (not in the document), broken off",
            ("outcome",),
            registry=registry,
        )
        self.refused = Counter("course_problems", "Requests that ended in a problem", ("reason",), registry=registry)
        self.batches = Histogram(
            "course_batch_texts", "Texts that were embedded in one call", buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )  # fmt: skip
        self.documents = Gauge(
            "course_documents", "Documents in the store", registry=registry, multiprocess_mode="mostrecent"
        )

    def text(self) -> tuple[bytes, str]:
        """All of it in the format of Prometheus, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry: Any = self.registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST
