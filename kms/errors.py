"""The errors of the KMS. Services raise them; the server maps `kind` to a gRPC status, by one table.

The message reaches the caller: it names limits, fields and states, never a secret, a key or a reason for a
denial. `metadata` becomes the metadata of `google.rpc.ErrorInfo`; `reason` its reason.
"""

from enum import Enum
from typing import ClassVar


class Kind(Enum):
    """What sort of refusal it is; kms.server.status maps each to one gRPC status."""

    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    INVALID = "invalid"
    STATE = "state"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    ALREADY_EXISTS = "already exists"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class KmsError(Exception):
    """Base: a refusal with a stable machine-readable reason (UPPER_SNAKE_CASE)."""

    kind: ClassVar[Kind] = Kind.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    hint: ClassVar[str] = ""

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class Unauthenticated(KmsError):
    """No acceptable certificate: none, expired, revoked, or not an identity of this KMS."""

    kind = Kind.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"
    hint = "Renew or enrol the identity again."


class Denied(KmsError):
    """Not allowed, or not there: one text, so that nobody learns which. `because` is for the audit event."""

    kind = Kind.DENIED
    reason = "DENIED"
    hint = "Ask a policy author; `explain` shows those who may read policies why."

    def __init__(self, because: str = "") -> None:
        super().__init__("permission denied, or the resource does not exist")
        self.because = because


class InvalidField(KmsError):
    """Bad input, with the field at fault."""

    kind = Kind.INVALID
    reason = "INVALID_FIELD"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", field=field)
        self.field = field
        self.description = description


class LimitExceeded(InvalidField):
    """An input above a named limit."""

    reason = "LIMIT_EXCEEDED"


class ChecksumMismatch(InvalidField):
    """The input is not what its CRC32C was computed over: it changed on its way."""

    reason = "CHECKSUM_MISMATCH"
    hint = "Send the request again; if it repeats, look for what changes it on its way."

    def __init__(self, field: str) -> None:
        super().__init__(field, "does not have the CRC32C given with it")


class DecryptionFailed(KmsError):
    """Not what this key version encrypted, or other additional data or label: one flat error."""

    kind = Kind.INVALID
    reason = "DECRYPTION_FAILED"
    hint = "Check that key, additional authenticated data and ciphertext are those of the encryption."

    def __init__(self) -> None:
        super().__init__("decryption failed")


class SignatureInvalid(KmsError):
    """Not a signature of this message under this key version."""

    kind = Kind.INVALID
    reason = "SIGNATURE_INVALID"
    hint = "Check that key version, hash and message are those that were signed."

    def __init__(self) -> None:
        super().__init__("the signature does not verify")


class MacInvalid(KmsError):
    """Not the message authentication code of this message under this key version."""

    kind = Kind.INVALID
    reason = "MAC_INVALID"
    hint = "Check that key version and message are those of the code."

    def __init__(self) -> None:
        super().__init__("the message authentication code does not verify")


class NotFound(KmsError):
    """Not there; said only to callers whose role lets them list such resources."""

    kind = Kind.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} does not exist", name=name)


class WrongState(KmsError):
    """The resource exists and is the caller's, but its state does not permit this."""

    kind = Kind.STATE
    reason = "WRONG_STATE"


class TenantNotServed(WrongState):
    """The caller's tenant is disabled, or is to be destroyed: nothing of it is served."""

    reason = "TENANT_NOT_SERVED"
    hint = "Ask the platform's operator, who has disabled the tenant or scheduled its destruction."

    def __init__(self, name: str, state: str) -> None:
        super().__init__(f"{name} is {state}", state=state)


class DeviceAbsent(WrongState):
    """A HIGH key is in a device (PKCS 11 token) that the server is not connected to, or was lost from it."""

    reason = "DEVICE_ABSENT"
    hint = "Connect the server to the device that holds the key, or use a key of another sensitivity."


class DeviceLacksAlgorithm(WrongState):
    """The device has no mechanism for an algorithm, or does it wrongly: no key of it is made there."""

    reason = "DEVICE_LACKS_ALGORITHM"
    hint = "Choose another algorithm or sensitivity, or another device."


class RotationUnderWay(WrongState):
    """The root key is being rotated: no other rotation begins before, nor a backup of the store."""

    reason = "ROTATION_UNDER_WAY"
    hint = "See `kms operator rotation` for how far it is, and repeat when it is done."

    def __init__(self) -> None:
        super().__init__("the root key is being rotated")


class PublicOnly(WrongState):
    """The key version was imported as a public key: it verifies or encrypts, and does nothing else."""

    reason = "PUBLIC_ONLY"
    hint = "Use a version that has its private key."

    def __init__(self) -> None:
        super().__init__("the key version holds a public key only")


class EtagMismatch(KmsError):
    """Somebody else wrote in between."""

    kind = Kind.CONFLICT
    reason = "ETAG_MISMATCH"
    hint = "Read the resource again, merge, and repeat with its new etag."


class AlreadyExists(KmsError):
    """A create call for a name that is taken."""

    kind = Kind.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class LaterEventsUnknown(WrongState):
    """A store went on after its backup, and nobody tells what was destroyed since."""

    reason = "LATER_EVENTS_UNKNOWN"
    hint = (
        "Give the audit trail of the platform and of each tenant with --trail. What nobody tells of is taken "
        "with --accept-unknown-events: what it destroyed is then there again."
    )


class BackupInvalid(KmsError):
    """Not a backup that a KMS made under its root of trust, or one that was changed or cut off since."""

    kind = Kind.INVALID
    reason = "BACKUP_INVALID"
    hint = "Take another copy of the backup; compare its size and its SHA-256 with those of the original."

    def __init__(self, problem: str) -> None:
        super().__init__(f"the backup is not to be used: {problem}")
        self.problem = problem


class RateLimited(KmsError):
    """Too many calls; `retry_after_seconds` says when the next may succeed."""

    kind = Kind.EXHAUSTED
    reason = "RATE_LIMITED"

    def __init__(
        self, retry_after_seconds: float, message: str = "rate limit reached", **metadata: str
    ) -> None:
        super().__init__(message, **metadata)
        self.retry_after_seconds = retry_after_seconds


class TooManyUnits(KmsError):
    """A batch of more units than a rate limit ever lets pass at once; waiting does not help."""

    kind = Kind.EXHAUSTED
    reason = "TOO_MANY_UNITS"
    hint = "Split the batch, or ask a tenant administrator for a limiter with a larger burst."


class BudgetExhausted(KmsError):
    """A cryptographic budget is used up, such as 2^32 evaluations under one exponent."""

    kind = Kind.EXHAUSTED
    reason = "BUDGET_EXHAUSTED"
    hint = "Rotate the key, and reseal to its new version."


class EvaluationFailed(KmsError):
    """The private operation failed its own check; the key version stops until its self-test passes."""

    reason = "EVALUATION_FAULT"
    hint = "Tell whoever runs the KMS: its hardware, or the stored key, is faulty."


class Unavailable(KmsError):
    """The server cannot serve now: starting, stopping, locked, or its disk failed."""

    kind = Kind.UNAVAILABLE
    reason = "UNAVAILABLE"


class DeviceUnavailable(Unavailable):
    """The device or its helper process does not answer. Keys that are elsewhere are not concerned."""

    reason = "DEVICE_UNAVAILABLE"
    hint = "Look after the device, its PIN file and the server's log; the server tries again by itself."


class DeviceFailed(KmsError):
    """The device is there and failed in what it was asked."""

    reason = "DEVICE_FAILED"
    hint = "Tell whoever runs the KMS: the device's own log may say more."


class Locked(Unavailable):
    """The server has no root key yet: it waits for the shares of its operators."""

    reason = "LOCKED"
    hint = "Have operators unlock the server: kms operator unlock."

    def __init__(self) -> None:
        super().__init__("the server is locked")


class StoreTampered(KmsError):
    """A stored row or event fails its authentication, is missing, or is older than a checkpoint."""

    kind = Kind.UNAVAILABLE
    reason = "STORE_TAMPERED"
    hint = "Stop the server and compare the store with a backup; do not delete the checkpoint file."


class ConfigError(KmsError):
    """The KMS cannot start as configured; for the operator, never on the wire."""

    reason = "CONFIGURATION"


class SelfTestFailed(ConfigError):
    """A primitive gave another answer than the known one. The server refuses to serve."""

    reason = "SELF_TEST_FAILED"
    hint = "Do not use this machine or installation: a library, or the processor, computes wrongly."

    def __init__(self, primitive: str) -> None:
        super().__init__(f"the self-test of {primitive} failed")
