"""A KMS with the listeners of `kms serve`, and who tells what they serve and what reached a servicer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from server.kms_harness import RunningKms, running_kms

from kms.main.configuration import Configuration
from kms.main.parts import Parts
from kms.main.serving import build_app, make_scheduler
from kms.main.status import StatusReport
from kms.model.names import IdentityName
from kms.server import app
from kms.server.app import App
from kms.server.methods import Methods

EDGE = IdentityName("globex", "prod", "edge")
SPIFFE_EDGE = "spiffe://kms.test/tenant/globex/ns/prod/sa/edge"


@dataclass
class Listener:
    """The methods that a listener was given, by path, and those of which a servicer was called."""

    methods: dict[str, MethodDescriptor] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)


class WatchedMethods(Methods):
    """Tells a `Listener` what is added, and what is called once the call path has let it through."""

    listeners: list[Listener]

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self._listener = Listener()
        self.listeners.append(self._listener)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        described = Default().FindServiceByName(service).methods_by_name
        self._listener.methods |= {f"/{service}/{name}": described[name] for name in handlers}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        super().add_generic_rpc_handlers([_Watched(handler, self._listener.reached) for handler in handlers])


@dataclass(frozen=True)
class _Watched:
    inner: Any
    reached: list[str]

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        handler = self.inner.service(details)
        if handler is None:
            return None
        acts = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        watched = {name: self._watched(details.method, getattr(handler, name)) for name in acts}
        return handler._replace(**{name: act for name, act in watched.items() if act is not None})

    def _watched(self, method: str, act: Callable[..., Any] | None) -> Callable[..., Any] | None:
        if act is None:
            return None

        def watched(request: Any, context: Any) -> Any:
            self.reached.append(method)
            return act(request, context)

        return watched


@dataclass
class WatchedKms:
    """What the listeners serve. `EDGE` is the proxy that the one for proxies believes."""

    kms: RunningKms
    main: Listener
    enrolment: Listener
    proxy: Listener

    @property
    def proxy_target(self) -> str:
        return f"localhost:{self.kms.ports.proxy}"


@contextmanager
def watched_kms(directory: Path) -> Iterator[WatchedKms]:
    """Tenants acme and globex, each with the namespace prod."""
    listeners: list[Listener] = []

    def make_app(configuration: Configuration, parts: Parts, now: Callable[[], datetime]) -> App:
        scheduler = make_scheduler(parts, now)
        status = StatusReport(parts.guard, parts.vault, parts.repository, datetime.now(UTC))
        listening = replace(configuration, proxy_listen="localhost:0", proxy_identities=(SPIFFE_EDGE,))
        return build_app(listening, parts, scheduler, status, now=now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WatchedMethods, "listeners", listeners, raising=False)
        patch.setattr(app, "Methods", WatchedMethods)
        with running_kms(directory, make_app=make_app) as kms:
            yield WatchedKms(kms, *listeners)
