"""A span of OpenTelemetry for each call, with method and code: never a tenant, a key or a caller."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kms.errors import ConfigError
from kms.server.call import Metadata

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE_NAME = "blindfold-kms"


class Tracing:
    """Needs the packages of the extra `otel`."""

    def __init__(self, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("kms.server")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str) -> "Tracing":
        """To a collector that takes OTLP over HTTP. Raises `ConfigError` without the packages."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            pass
        else:
            return cls(OTLPSpanExporter(endpoint))
        raise ConfigError("trace_endpoint needs OpenTelemetry: install blindfold-kms[otel]")

    def begin(self, method: str, metadata: Metadata) -> Callable[[str], None]:
        """As `Metrics.begin`. The caller's trace goes on (W3C Trace Context) if he sent one."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {name: value for name, value in metadata if isinstance(value, str)}
        service, _, name = method.strip("/").partition("/")
        span = self._tracer.start_span(
            f"{service}/{name}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )

        def end(code: str) -> None:
            span.set_attribute("rpc.response.status_code", code)
            if code in ("INTERNAL", "UNKNOWN"):
                span.set_status(Status(StatusCode.ERROR))
            span.end()

        return end

    def stop(self) -> None:
        """Send what is left. Takes some seconds if the collector does not answer."""
        self._provider.shutdown()
