"""How many calls a caller may make."""

from functools import cache
from typing import Protocol

from kms.model.rate_limit import OperationClass
from kms.server.call import Call
from kms.services.rate_limits import Requester
from protos.kms.v1 import crypto_service_pb2, unlock_service_pb2

_READ_VERBS = (
    *("Check", "Explain", "ExportAuditEvents", "Fetch", "Get", "List", "Review", "Server", "Simulate"),
    *("Validate", "Watch"),
)
_CRYPTO = f"/{crypto_service_pb2.DESCRIPTOR.services_by_name['CryptoService'].full_name}/"
_UNLOCK = f"/{unlock_service_pb2.DESCRIPTOR.services_by_name['UnlockService'].full_name}/"
# Each element of a blind evaluation is a unit (docs/spec/blindfold.md, "Opening"), like an item of a batch.
_ITEMS = {"EvaluateBlinded": "elements"}
_ITEMS_OF_BATCH = "requests"


class RateLimiter(Protocol):
    """See `take`."""

    def take(self, who: Requester, operation_class: OperationClass, units: int) -> None:
        """Take units from whoever calls. Raises `RateLimited`."""
        ...


class RateLimit:
    """Asks the limiter; after authentication, so that nobody spends another's units."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    def __call__(self, call: Call) -> Call:
        """Raises `RateLimited`."""
        kind, items = _charge(call.method)
        units = max(1, len(getattr(call.request, items))) if items and call.request is not None else 1
        self._limiter.take(Requester(call.caller, call.address, call.metadata), kind, units)
        return call


@cache
def _charge(method: str) -> tuple[OperationClass, str]:
    """The class of a method, and the field of its request whose items are charged one by one, "" for none."""
    verb = method.rpartition("/")[2]
    is_batch = method.startswith(_CRYPTO) and verb.startswith("Batch")
    return operation_class(method), _ITEMS_OF_BATCH if is_batch else _ITEMS.get(verb, "")


def operation_class(method: str) -> OperationClass:
    """The class of a method, given by its full path."""
    verb = method.rpartition("/")[2]
    if verb.startswith("Enrol") or method.startswith(_UNLOCK):
        return OperationClass.ENROL
    if verb == "EvaluateBlinded":
        return OperationClass.OPEN
    if method.startswith(_CRYPTO):
        return OperationClass.USE
    return OperationClass.READ if verb.startswith(_READ_VERBS) else OperationClass.WRITE
