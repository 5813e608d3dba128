"""The call being served, as the interceptors made it known. Each call runs in a task of its own."""

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import Message

from kms.errors import Unauthenticated
from kms.model.caller import Caller
from kms.model.receipt import Receipt
from kms.services import call as services

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Call(NamedTuple):
    """One call. `method` is its full path; `time` when it came in, in UTC, and the time of all its steps;
    `address` the client's IP address in text, "" if it is not known; `transport` what grpc knows of the
    connection; `metadata` what the client sent beside the request, with names in lower case.

    `request` is None where the client streams; `caller` is None until the call is authenticated, and stays
    None on the enrolment listener. `receipts`, a list of its own, are of the call's own events so far.
    """

    method: str
    request_id: str
    time: datetime
    address: str
    receipts: list[Receipt]
    transport: Mapping[str, Iterable[bytes]] = MappingProxyType({})
    metadata: Metadata = ()
    request: Message | None = None
    caller: Caller | None = None

    def __repr__(self) -> str:
        """Without what the client sent."""
        return f"Call({self.method!r}, {self.request_id!r})"


_current: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """The call that this task serves."""
    return _current.get()


def call_if_any() -> Call | None:
    """The call that this task serves, once its request was read."""
    return _current.get(None)


def service_call() -> services.Call:
    """The call that this task serves, as service functions take it.

    Raises `Unauthenticated` where nobody was authenticated.
    """
    call = _current.get()
    if call.caller is None:
        raise Unauthenticated("this call needs a client certificate")
    return services.Call(call.caller, call.request_id, call.time)


def acknowledge(request_id: str, receipt: Receipt) -> None:
    """Keep the receipt with the call that this task serves, if the event is that call's own."""
    call = call_if_any()
    if call is not None and request_id == call.request_id:
        call.receipts[:] = [receipt]


def enter(call: Call) -> None:
    """Make call the current one for the rest of this task."""
    _current.set(call)
