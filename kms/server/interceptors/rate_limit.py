"""How many calls a caller may make."""

from enum import Enum
from typing import Protocol

from kms.model.caller import Caller
from kms.server.call import Call, ServicerContext
from protos.kms.v1.blindfold_service_pb2 import EvaluateBlindedRequest

_READ_VERBS = ("Check", "Explain", "Export", "Get", "List", "Server", "Validate", "Watch")


class OperationClass(Enum):
    """Calls that are counted together."""

    ENROL = "enrol"
    OPEN = "open"
    READ = "read"
    WRITE = "write"


class RateLimiter(Protocol):
    """See `acquire`."""

    async def acquire(
        self, caller: Caller | None, address: str, operation_class: OperationClass, units: int
    ) -> None:
        """Take units from whoever calls: the caller, or at enrolment, where it is None, the address.

        May wait before it refuses, so that a flood does not starve others. Raises `RateLimited`.
        """
        ...


class UnlimitedRateLimiter:
    """Lets every call pass."""

    async def acquire(
        self, caller: Caller | None, address: str, operation_class: OperationClass, units: int
    ) -> None:
        """Never raises."""


class RateLimit:
    """Asks the limiter; after authentication, so that nobody spends another's units."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def __call__(self, call: Call, context: ServicerContext) -> Call:
        """Raises `RateLimited`."""
        await self._limiter.acquire(call.caller, call.address, operation_class(call.method), _units(call))
        return call


def operation_class(method: str) -> OperationClass:
    """The class of a method, given by its full path."""
    verb = method.rpartition("/")[2]
    if verb == "Enrol":
        return OperationClass.ENROL
    if verb == "EvaluateBlinded":
        return OperationClass.OPEN
    return OperationClass.READ if verb.startswith(_READ_VERBS) else OperationClass.WRITE


def _units(call: Call) -> int:
    """One, but one per element of a blind evaluation (docs/spec/blindfold.md, "Opening")."""
    if isinstance(call.request, EvaluateBlindedRequest):
        return max(1, len(call.request.elements))
    return 1
