"""Clients of a KMS: what is asked of keys as typed methods, everything else by its name.

    with KmsClient("kms.example:7443", Path("credentials")) as client:
        made = client.encrypt("tenants/acme/namespaces/prod/keys/orders", b"...", aad=b"order 17")

A client holds one connection, follows its credentials' renewal, and repeats what may be repeated.
"""

import inspect
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from kms.client import operations as op
from kms.client.api import Api, JsonObject, Keep, keep_nothing, prepared, send, send_async
from kms.client.calls import Call, of_many, of_one
from kms.client.errors import CallFailed
from kms.client.health import check_health
from kms.client.operations import Request
from kms.client.reloading import EVERY, AsyncReloadingChannel, ReloadingChannel
from kms.client.resending import Resending, attempts, repeat, repeat_async

P = ParamSpec("P")
R = TypeVar("R")
Channel = TypeVar("Channel", ReloadingChannel, AsyncReloadingChannel)


class Runs(Protocol):
    """Whatever can have one request answered."""

    def run(self, name: str, request: Request[R], /) -> R: ...


class RunsAsync(Protocol):
    """As `Runs`, for asyncio."""

    async def run(self, name: str, request: Request[R], /) -> R: ...


def _method(kind: Callable[P, Request[R]]) -> Callable[Concatenate[Runs, str, P], R]:
    """A method that takes a name, and what a request of that kind is made of."""

    def call(self: Runs, name: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.run(name, kind(*args, **kwargs))

    _describe(call, kind)
    return call


def _async_method(
    kind: Callable[P, Request[R]],
) -> Callable[Concatenate[RunsAsync, str, P], Coroutine[Any, Any, R]]:
    """As `_method`, for asyncio."""

    async def call(self: RunsAsync, name: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.run(name, kind(*args, **kwargs))

    _describe(call, kind)
    return call


def _describe(call: Any, kind: Callable[..., object]) -> None:
    """What `help` shows: the text and the parameters of the kind, not `*args`."""
    first = list(inspect.signature(call).parameters.values())[:2]
    call.__doc__ = kind.__doc__
    call.__signature__ = inspect.Signature([*first, *inspect.signature(kind).parameters.values()])


class Operations:
    """The operations on keys. Names are of keys, of versions where it says so, or of a namespace.

    All raise `CallFailed`, and `InvalidField` for a request that contradicts itself.
    """

    encrypt = _method(op.Encrypt)
    decrypt = _method(op.Decrypt)
    re_encrypt = _method(op.ReEncrypt)
    generate_data_key = _method(op.GenerateDataKey)
    generate_random = _method(op.GenerateRandom)
    raw_encrypt = _method(op.RawEncrypt)
    raw_decrypt = _method(op.RawDecrypt)
    asymmetric_encrypt = _method(op.AsymmetricEncrypt)
    asymmetric_decrypt = _method(op.AsymmetricDecrypt)
    sign = _method(op.Sign)
    verify = _method(op.Verify)
    get_public_key = _method(op.GetPublicKey)
    mac = _method(op.Mac)
    mac_verify = _method(op.MacVerify)


class AsyncOperations:
    """As `Operations`, for asyncio."""

    encrypt = _async_method(op.Encrypt)
    decrypt = _async_method(op.Decrypt)
    re_encrypt = _async_method(op.ReEncrypt)
    generate_data_key = _async_method(op.GenerateDataKey)
    generate_random = _async_method(op.GenerateRandom)
    raw_encrypt = _async_method(op.RawEncrypt)
    raw_decrypt = _async_method(op.RawDecrypt)
    asymmetric_encrypt = _async_method(op.AsymmetricEncrypt)
    asymmetric_decrypt = _async_method(op.AsymmetricDecrypt)
    sign = _async_method(op.Sign)
    verify = _async_method(op.Verify)
    get_public_key = _async_method(op.GetPublicKey)
    mac = _async_method(op.Mac)
    mac_verify = _async_method(op.MacVerify)


class _Client(Generic[Channel]):
    """What both clients are made of."""

    _kind: type[Channel]

    def __init__(
        self,
        target: str,
        credentials: Path,
        *,
        server_name: str | None = None,
        resending: Resending | None = None,
        checksums: bool = True,
        reload_every: float = EVERY,
        keep: Keep = keep_nothing,
    ) -> None:
        """`target` as "kms.example:7443", `credentials` a directory as `kms identity enrol` writes it.

        It is looked at again at a call, at most each `reload_every` seconds. `server_name` is that of the
        server's certificate, if it is not the host of the target. `checksums` are sent and demanded. `keep`
        is given the receipt of each attempt that left one, refused ones too, in the thread that made it.
        Raises `ConfigError`.
        """
        self._channel: Channel = self._kind(target, credentials, server_name=server_name, every=reload_every)
        self._resending = resending or Resending()
        self.checksums = checksums
        self._keep = keep


class KmsClient(_Client[ReloadingChannel], Operations):
    """Safe for threads. Close it, or use it in a `with` statement."""

    _kind = ReloadingChannel

    @property
    def api(self) -> Api:
        """Everything else the KMS does, on the same connection. It repeats nothing."""
        return Api(self._channel.lease, self._resending.deadline, self._keep)

    def run(self, name: str, request: Request[R], /) -> R:
        """What one of the methods does, for a request that is a value."""
        return self.make(of_one(name, request, checksums=self.checksums))

    def batch(self, name: str, requests: Sequence[Request[R]], /) -> list[R | CallFailed]:
        """The answer to each request, or why there is none, in one call: 1 to 1,000 of one kind, up to 4 MiB.

        Raises `CallFailed` for the call as a whole.
        """
        return self.make(of_many(name, requests, checksums=self.checksums))

    def call(self, service: str, method: str, request: JsonObject) -> dict[str, Any]:
        """Any other method, as `Api.call`; repeated if it reads, or has a request_id."""
        return self.make(prepared(service, method, request))

    def make(self, call: Call[R]) -> R:
        """Raises `CallFailed`."""

        def act(timeout: float) -> R:
            with self._channel.lease() as channel:
                return call.read(send(channel, call.method, call.raw, timeout, self._keep))

        return repeat(act, attempts(self._resending, repeatable=call.repeatable))

    def check_health(self) -> None:
        """Ask whether the KMS serves this caller: no role is needed, no event made. Raises `CallFailed`."""
        with self._channel.lease() as channel:
            check_health(channel, self._resending.deadline)

    def close(self) -> None:
        """Ends the connection. Calls under way fail, later ones raise `ValueError`."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncKmsClient(_Client[AsyncReloadingChannel], AsyncOperations):
    """`KmsClient` for asyncio, for the tasks of one event loop."""

    _kind = AsyncReloadingChannel

    async def run(self, name: str, request: Request[R], /) -> R:
        return await self.make(of_one(name, request, checksums=self.checksums))

    async def batch(self, name: str, requests: Sequence[Request[R]], /) -> list[R | CallFailed]:
        return await self.make(of_many(name, requests, checksums=self.checksums))

    async def call(self, service: str, method: str, request: JsonObject) -> dict[str, Any]:
        return await self.make(prepared(service, method, request))

    async def make(self, call: Call[R]) -> R:
        async def act(timeout: float) -> R:
            async with self._channel.lease() as channel:
                return call.read(await send_async(channel, call.method, call.raw, timeout, self._keep))

        return await repeat_async(act, attempts(self._resending, repeatable=call.repeatable))

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
