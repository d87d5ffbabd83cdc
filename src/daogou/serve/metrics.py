"""What the server counts, for Prometheus. One registry an application, so that two in one process do not mix."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters and where they are raised: `edge` (requests), `routes` (answers, events), `shown`, `live`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        r = self.registry
        self.requests = Counter("daogou_requests", "Requests by route and status", ["method", "route", "status"], registry=r)
        self.seconds = Histogram("daogou_request_seconds", "Time from the first byte in to the last byte out", ["route"], buckets=SECONDS, registry=r)
        self.in_flight = Gauge("daogou_requests_in_flight", "Requests begun and not answered", registry=r)
        self.shed = Counter("daogou_requests_shed", "Requests refused because too many were waiting", registry=r)
        self.answers = Counter("daogou_answers", "Answers by placement or question", ["placement"], registry=r)
        self.degraded = Counter("daogou_degraded", "Answers that a model could not give and a simpler one gave", ["placement"], registry=r)
        self.rows = Counter("daogou_rows", "Rows sent in, by table and outcome (accepted, duplicate, rejected)", ["table", "outcome"], registry=r)
        self.shown = Counter("daogou_shown", "Items shown, by outcome (stored, dropped, nobody)", ["outcome"], registry=r)
        self.language_model = Counter(
            "daogou_language_model", "Calls of the guide's language model, by use (read, phrase) and outcome (used, or why not)", ["use", "outcome"], registry=r
        )
        self.release = Gauge("daogou_release_info", "The release that answers", ["release"], registry=r)
        self.release_loads = Counter("daogou_release_loads", "Attempts to load a published release", ["outcome"], registry=r)

    def live(self, release: str | None) -> None:
        """Says which release answers now."""
        self.release.clear()
        self.release.labels(release or "none").set(1)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
