"""Metrics in Prometheus's form. Labels are methods, codes and kinds: never a tenant, a key or a caller."""

import time
from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from blindfold.secret import MEMORY
from kms.server.call import Metadata

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The numbers of one server."""

    def __init__(
        self,
        is_ready: Callable[[], bool],
        last_event: Callable[[], int],
        authority_end: Callable[[], datetime],
    ) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._calls = Counter("kms_calls", "Calls answered.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "kms_call_seconds",
            "Time of a call in the server.",
            ["method"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._alerts = Counter("kms_alerts", "Alerts raised.", ["kind"], registry=registry)
        self._webhook = Counter(
            "kms_webhook_notices", "Notices to the webhook.", ["outcome"], registry=registry
        )
        ready = Gauge("kms_ready", "1 while calls are served.", registry=registry)
        ready.set_function(lambda: float(is_ready()))
        events = Gauge("kms_audit_sequence", "Number of the newest audit event.", registry=registry)
        events.set_function(lambda: float(last_event()))
        end = Gauge(
            "kms_identity_authority_end_seconds",
            "Unix time at which the authority ends that certifies identities.",
            registry=registry,
        )
        end.set_function(lambda: authority_end().timestamp())
        locked = Gauge("kms_locked_memory_bytes", "Memory locked for secrets.", registry=registry)
        locked.set_function(lambda: float(MEMORY.report().locked))
        unlocked = Gauge("kms_unlocked_secrets", "Secrets held in other memory so far.", registry=registry)
        unlocked.set_function(lambda: float(MEMORY.report().unlocked_secrets))

    def begin(self, method: str, metadata: Metadata) -> Callable[[str], None]:
        """Called at the begin of a call; what it returns, with the code's name, at its end."""
        start = time.perf_counter()

        def end(code: str) -> None:
            self._calls.labels(method, code).inc()
            self._seconds.labels(method).observe(time.perf_counter() - start)

        return end

    def alert(self, kind: str) -> None:
        self._alerts.labels(kind).inc()

    def webhook(self, outcome: str) -> None:
        self._webhook.labels(outcome).inc()

    def page(self) -> bytes:
        """All of them, as a monitor reads them."""
        return generate_latest(self._registry)
