"""What is asked of a policy: one request, with everything a predicate may read, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from kms.errors import InvalidField
from kms.model.caller import Caller
from kms.model.policy import OPERATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """One request, as the policies see it.

    `operation` is one of `kms.model.policy.OPERATIONS`, or None where a secret is opened; `resource_labels`
    are the labels of the key or of the secret policy; `key_name` is the key's id within its namespace, ""
    where no key is named; `aad` the additional authenticated data, of which None and b"" are the same;
    `time` the moment of the request, in UTC. Raises `InvalidField`.
    """

    caller: Caller
    time: datetime
    operation: str | None = None
    resource_labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    key_name: str = ""
    aad: bytes | None = None

    def __post_init__(self) -> None:
        if self.time.utcoffset() != timedelta(0):
            raise InvalidField("time", "must be in UTC")
        if self.operation is not None and self.operation not in OPERATIONS:
            raise InvalidField("operation", "is not an operation that policies know")
