"""The listeners: one for callers with a certificate, one that does nothing but enrol, one for proxies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic_ns
from typing import Self, cast

import grpc

from kms.errors import ConfigError
from kms.server.interceptors.call_path import Begin, CallPath, Count, Layer
from kms.server.late_refusals import Lateness, LateRefusals
from kms.server.methods import Methods
from kms.server.open_calls import CallsAtOnce
from kms.server.servicers import Servicer
from kms.server.servicers.health import Health
from kms.server.servicers.reflection import Reflection


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take. Sizes are bytes, times seconds.

    `concurrent_calls` are those of a listener, held refusals among them; `calls_of_user` those of one
    caller, or of one address before anybody is known; `long_calls_...` those that read much, of one and of
    all callers of a tenant. `window` is what a client may send of a call before the server asks for it: it
    does not grow by itself, or each refused stream could make the server receive megabytes.
    A connection is ended gracefully after `connection_age` (varied by a tenth) and calls on it, streams too,
    after `connection_age_grace` more.
    """

    message_size: int = 8 * 2**20
    metadata_size: int = 16 * 2**10
    window: int = 64 * 2**10
    concurrent_calls: int = 5000
    calls_of_user: int = 256
    long_calls_of_user: int = 2
    long_calls_of_tenant: int = 4
    lateness: Lateness = field(default_factory=Lateness)
    streams_per_connection: int = 100
    handshake_time: float = 10
    connection_idle: float = 600
    connection_age: float = 3600
    connection_age_grace: float = 60
    keepalive_time: float = 60
    keepalive_timeout: float = 20
    client_ping_interval: float = 20

    def for_strangers(self) -> Self:
        """What a client may take of whom nothing is known: room for a CSR, and not for long."""
        return replace(
            self,
            message_size=min(self.message_size, 64 << 10),
            streams_per_connection=min(self.streams_per_connection, 4),
            connection_idle=min(self.connection_idle, 10),
            connection_age=min(self.connection_age, 60),
            connection_age_grace=min(self.connection_age_grace, 10),
        )

    def to_options(self) -> list[tuple[str, int]]:
        """As grpc's channel arguments. No port is shared with another process."""
        return [
            ("grpc.so_reuseport", 0),
            # None: a few bytes of it would become megabytes here, before anybody looks at them.
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.max_receive_message_length", self.message_size),
            ("grpc.max_send_message_length", self.message_size),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", self.window),
            # Of the algorithms none but identity: what is unpacked could be a thousand times what was sent.
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.max_metadata_size", self.metadata_size),
            ("grpc.absolute_max_metadata_size", self.metadata_size),
            ("grpc.max_concurrent_streams", self.streams_per_connection),
            ("grpc.server_handshake_timeout_ms", round(self.handshake_time * 1000)),
            ("grpc.max_connection_idle_ms", round(self.connection_idle * 1000)),
            ("grpc.max_connection_age_ms", round(self.connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", round(self.connection_age_grace * 1000)),
            ("grpc.keepalive_time_ms", round(self.keepalive_time * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout * 1000)),
            ("grpc.http2.min_ping_interval_without_data_ms", round(self.client_ping_interval * 1000)),
            ("grpc.http2.max_ping_strikes", 2),
        ]


@dataclass(frozen=True, slots=True)
class Listener:
    """An address (`127.0.0.1:7000`, `[::]:7000`; port 0 for a free one), what it shows and what it serves."""

    address: str
    credentials: grpc.ServerCredentials
    servicers: Sequence[Servicer]
    layers: Sequence[Layer]


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that the listeners have; 0 for a listener that there is not."""

    main: int
    enrolment: int
    proxy: int = 0
    monitoring: int = 0


class App:
    """The listeners as one. Started and stopped once, in one event loop.

    Health and reflection are served on the main listener, and on that for proxies if there is one: they need
    a certificate but no permission.
    `now` is the clock, in UTC; `monotonic` another, in nanoseconds; `new_request_id` draws an id that nobody
    else draws; `count_refused` hears of calls that nobody was authenticated for, or that were too many;
    `observers` of every call's begin and end.
    """

    def __init__(
        self,
        main: Listener,
        enrolment: Listener,
        now: Callable[[], datetime],
        new_request_id: Callable[[], str],
        limits: Limits | None = None,
        count_refused: Count = lambda caller, address, reason: None,
        proxy: Listener | None = None,
        monotonic: Callable[[], int] = monotonic_ns,
        observers: Sequence[Begin] = (),
    ) -> None:
        self._main = main
        self._enrolment = enrolment
        self._proxy = proxy
        self._monotonic = monotonic
        self._observers = observers
        self._now = now
        self._new_request_id = new_request_id
        self._limits = limits or Limits()
        self._count_refused = count_refused
        services = [servicer.SERVICE for servicer in main.servicers]
        self._health = Health(services)
        self._reflection = Reflection([*services, Health.SERVICE])
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> Ports:
        """Listen on all addresses; health is NOT_SERVING still. Raises `ConfigError` if one is taken."""
        try:
            ports = Ports(
                main=self._listen(self._main, self._limits, self._health, self._reflection),
                enrolment=self._listen(self._enrolment, self._limits.for_strangers()),
                proxy=0
                if self._proxy is None
                else self._listen(self._proxy, self._limits, self._health, self._reflection),
            )
        except ConfigError:
            await self.stop(0)
            raise
        for server in self._servers:
            await server.start()
        return ports

    async def set_serving(self, serving: bool) -> None:
        """Tell those who ask for the health of a service."""
        await self._health.set_serving(serving)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let those in flight end within `grace` seconds, cancel what is left."""
        await self._health.stop()
        for server in self._servers:
            await server.stop(grace)
        self._servers.clear()

    def _listen(self, listener: Listener, limits: Limits, *more: Servicer) -> int:
        server = grpc.aio.server(options=limits.to_options(), maximum_concurrent_rpcs=limits.concurrent_calls)
        self._servers.append(server)
        path = CallPath(
            listener.layers,
            self._now,
            self._new_request_id,
            self._count_refused,
            CallsAtOnce(limits.calls_of_user, limits.long_calls_of_user, limits.long_calls_of_tenant),
            LateRefusals(limits.lateness, self._monotonic),
            self._observers,
        )
        methods = Methods(path)
        for servicer in (*listener.servicers, *more):
            servicer.add_to(cast(grpc.aio.Server, methods))
        server.add_generic_rpc_handlers((methods,))
        try:
            return server.add_secure_port(listener.address, listener.credentials)
        except RuntimeError:
            pass
        raise ConfigError(f"cannot listen on {listener.address}: is it taken, or its certificate unreadable?")
