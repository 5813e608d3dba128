"""A certificate authority, and applications that run in a thread of their own."""

import asyncio
import datetime
import ipaddress
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from blindfold.secret import SecretBytes
from kms.model.caller import Caller
from kms.model.names import OperatorName
from kms.model.rate_limit import OperationClass
from kms.model.server_status import Grade, ServerStatus, StoreStatus
from kms.server.app import App, Limits, Listener, Ports
from kms.server.interceptors.authentication import Authentication, require_tls_1_3
from kms.server.interceptors.call_path import Begin
from kms.server.interceptors.rate_limit import RateLimit, RateLimiter
from kms.server.servicers import Servicer
from kms.server.servicers.status import StatusServicer
from kms.server.tls import ServerCertificate, enrolment_credentials, main_credentials
from kms.services.call import Call
from kms.services.rate_limits import Requester

T = TypeVar("T")

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
SPIFFE_ID = "spiffe://kms.test/operator/olga"
STATUS = ServerStatus(
    version="1.2.3",
    start_time=NOW,
    ready=True,
    locked=False,
    root_of_trust="keyfile",
    grade=Grade.DEVELOPMENT,
    store=StoreStatus("sqlite", 1, 17, None),
    tenant_count=2,
    root_key_rotating=True,
)


class Authority:
    """One self-signed authority with P-256 keys."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.pem = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A private key and a certificate of localhost and of one SPIFFE id, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName(
            [
                x509.DNSName("localhost"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                x509.UniformResourceIdentifier(SPIFFE_ID),
            ]
        )
        leaf = self._builder(subject, key).add_extension(names, critical=False)
        return (
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            leaf.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM),
        )

    def server_certificate(self, name: str = "server") -> ServerCertificate:
        key, chain = self.issue(name)
        return ServerCertificate(SecretBytes(key), chain, self.pem)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
        )


def write_credentials(directory: Path, key: bytes, certificate: bytes, ca: bytes) -> Path:
    directory.mkdir()
    (directory / "key.pem").touch(mode=0o600)
    (directory / "key.pem").write_bytes(key)
    (directory / "cert.pem").write_bytes(certificate)
    (directory / "ca.pem").write_bytes(ca)
    return directory


def accept(pem: bytes, address: str, now: datetime.datetime) -> Caller:
    return Caller(OperatorName("olga"), SPIFFE_ID, (SPIFFE_ID,), address=address)


class UnlimitedRateLimiter:
    """Lets every call pass."""

    def take(self, who: Requester, operation_class: OperationClass, units: int) -> None:
        pass


class EventLoop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 20) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@dataclass
class Running:
    """An application that serves. `reported` is what GetStatus does: return a status, or raise."""

    app: App
    loop: EventLoop
    ports: Ports
    report: list[Callable[[Caller], ServerStatus]]
    certificate: list[ServerCertificate]

    @property
    def target(self) -> str:
        return f"localhost:{self.ports.main}"

    def stop(self, grace: float = 5) -> None:
        self.loop.run(self.app.stop(grace))


@dataclass
class Options:
    """How an application of a test differs from an ordinary one."""

    servicers: Sequence[Servicer] = ()
    enrolment_servicers: Sequence[Servicer] = ()
    authenticate: Callable[[bytes, str, datetime.datetime], Caller] = accept
    limiter: RateLimiter = field(default_factory=UnlimitedRateLimiter)
    limits: Limits = field(default_factory=Limits)
    monotonic: Callable[[], int] = monotonic_ns
    address: str = "localhost:0"
    certificate: ServerCertificate | None = None
    observers: Sequence[Begin] = ()
    request_ids: Iterator[str] = field(default_factory=lambda: map("made-{}".format, range(1, 10_000)))


@contextmanager
def running(authority: Authority, options: Options) -> Iterator[Running]:
    report: list[Callable[[Caller], ServerStatus]] = [lambda caller: STATUS]
    certificate = [options.certificate or authority.server_certificate()]
    loop = EventLoop()

    async def report_status(call: Call) -> ServerStatus:
        return await asyncio.to_thread(report[0], call.caller)

    status = StatusServicer(report_status)
    limit = RateLimit(options.limiter)
    main = Listener(
        options.address,
        main_credentials(lambda: certificate[0]),
        [status, *options.servicers],
        [require_tls_1_3, Authentication(options.authenticate), limit],
    )
    enrolment = Listener(
        "localhost:0",
        enrolment_credentials(lambda: certificate[0]),
        options.enrolment_servicers,
        [require_tls_1_3, limit],
    )
    app = App(
        main,
        enrolment,
        lambda: NOW,
        lambda: next(options.request_ids),
        options.limits,
        monotonic=options.monotonic,
        observers=options.observers,
    )
    try:
        ports = loop.run(app.start())
        loop.run(app.set_serving(True))
        yield Running(app, loop, ports, report, certificate)
    finally:
        loop.run(app.stop(0))
        loop.close()
