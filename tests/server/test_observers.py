"""Metrics and traces of calls: methods and codes, and no name of anybody or anything."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from server_harness import STATUS

from kms.client.channel import open_channel
from kms.errors import WrongState
from kms.server.metrics import Metrics
from kms.server.tracing import Tracing
from protos.kms.v1.status_service_pb2 import GetStatusRequest
from protos.kms.v1.status_service_pb2_grpc import StatusServiceStub

METHOD = "/kms.v1.StatusService/GetStatus"
END = datetime(2027, 3, 1, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def call_twice(serve: Any, credentials: Any, *observers: Any) -> None:
    """One call that succeeds, and one that is refused."""
    server = serve(observers=observers)
    with open_channel(server.target, credentials) as channel:
        stub = StatusServiceStub(channel)
        metadata = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"), ("x-request-id", "r"))
        stub.GetStatus(GetStatusRequest(), metadata=metadata)

        def refuse(caller: Any) -> Any:
            raise WrongState("no")

        server.report[0] = refuse
        with pytest.raises(grpc.RpcError):
            stub.GetStatus(GetStatusRequest())
    # The last call may have been answered before its observers heard of its end.
    server.stop()


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_calls_are_counted_by_method_and_code(serve, credentials):
    metrics = Metrics(lambda: True, lambda: 17, lambda: END)
    call_twice(serve, credentials, metrics.begin)
    found = samples(metrics.page())
    for code in ("OK", "FAILED_PRECONDITION"):
        assert found["kms_calls_total", (("code", code), ("method", METHOD))] == 1
    assert found["kms_call_seconds_count", (("method", METHOD),)] == 2
    assert (found["kms_ready", ()], found["kms_audit_sequence", ()]) == (1, 17)
    assert found["kms_identity_authority_end_seconds", ()] == END.timestamp()


def test_alerts_and_notices_are_counted_by_kind_and_outcome():
    metrics = Metrics(lambda: False, lambda: 0, lambda: END)
    metrics.alert("first_use")
    metrics.webhook("dropped")
    found = samples(metrics.page())
    assert found["kms_alerts_total", (("kind", "first_use"),)] == 1
    assert found["kms_webhook_notices_total", (("outcome", "dropped"),)] == 1
    assert found["kms_ready", ()] == 0


def test_each_call_is_a_span_of_its_caller_s_trace(serve, credentials):
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    call_twice(serve, credentials, tracing.begin)
    tracing.stop()
    first, second = exporter.get_finished_spans()
    assert f"{first.context.trace_id:032x}" == TRACE
    assert f"{second.context.trace_id:032x}" != TRACE
    assert [span.name for span in (first, second)] == ["kms.v1.StatusService/GetStatus"] * 2
    assert dict(first.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "kms.v1.StatusService",
        "rpc.method": "GetStatus",
        "rpc.response.status_code": "OK",
    }
    assert second.attributes["rpc.response.status_code"] == "FAILED_PRECONDITION"


def test_a_cancelled_call_is_counted_as_such(serve, credentials):
    metrics = Metrics(lambda: True, lambda: 0, lambda: END)
    server = serve(observers=[metrics.begin])
    entered, leave = threading.Event(), threading.Event()

    def report(caller: Any) -> Any:
        entered.set()
        assert leave.wait(20)
        return STATUS

    server.report[0] = report
    cancelled = ("kms_calls_total", (("code", "CANCELLED"), ("method", METHOD)))
    with open_channel(server.target, credentials) as channel:
        call = StatusServiceStub(channel).GetStatus.future(GetStatusRequest())
        assert entered.wait(10)
        call.cancel()
        deadline = time.monotonic() + 10
        while cancelled not in samples(metrics.page()) and time.monotonic() < deadline:
            time.sleep(0.01)
    leave.set()
    assert samples(metrics.page())[cancelled] == 1
