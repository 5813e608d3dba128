"""What goes wrong between a workload and a vault or REST server (docs/external.md, "Errors").

None of these is of the KMS, and no text has anything that the server sent: it may hold a secret.
"""

from enum import Enum
from typing import ClassVar

from kms.errors import Kind


class Repeat(Enum):
    """When the same request may be sent again: never, if it only reads, or always: nothing was done."""

    NEVER = "never"
    READS = "reads"
    ALWAYS = "always"


class ExternalFailed(Exception):
    """Base. `reason` is stable, `hint` says what to do next, `retry_after` is in seconds, None if unknown."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    reason: ClassVar[str] = "EXTERNAL_FAILED"
    hint: ClassVar[str] = "Look into the log of the server."
    repeat: ClassVar[Repeat] = Repeat.NEVER

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Unreachable(ExternalFailed):
    """No connection, or one that broke off."""

    reason = "EXTERNAL_UNREACHABLE"
    hint = "Check the endpoint of the access, that the server runs, and that the network lets you through."
    repeat = Repeat.READS


class TimedOut(ExternalFailed):
    """No answer in the time of the access."""

    reason = "EXTERNAL_TIMED_OUT"
    hint = "Try again; if the server is always slow, raise timeout_seconds of the access."
    repeat = Repeat.READS


class NotVerified(ExternalFailed):
    """The server's certificate is of another authority or name, or has expired."""

    reason = "EXTERNAL_NOT_VERIFIED"
    hint = "Compare tls.ca_pem and tls.server_name of the access with the certificate of the server."


class ServerFailed(ExternalFailed):
    """It answers that it failed."""

    reason = "EXTERNAL_SERVER_FAILED"
    repeat = Repeat.READS


class NotNow(ExternalFailed):
    """It did nothing: it is overloaded, starting, or behind what this token wrote elsewhere."""

    reason = "EXTERNAL_NOT_NOW"
    hint = "Try again later."
    repeat = Repeat.ALWAYS


class ServerLimits(ExternalFailed):
    """A rate limit of the server."""

    kind = Kind.EXHAUSTED
    reason = "EXTERNAL_RATE_LIMITED"
    hint = "Ask less often, or have the quota of this caller raised."
    repeat = Repeat.ALWAYS


class Sealed(ExternalFailed):
    """The vault is sealed, or was never initialised."""

    reason = "EXTERNAL_SEALED"
    hint = "Have an operator of the vault unseal it."


class Redirected(ExternalFailed):
    """It sends callers elsewhere, as a standby does. No redirect is followed."""

    reason = "EXTERNAL_REDIRECTED"
    hint = "Give the access an endpoint that answers itself: the active server, or a load balancer before it."


class Forbidden(ExternalFailed):
    """The server knows the caller and does not let it."""

    kind = Kind.DENIED
    reason = "EXTERNAL_DENIED"
    hint = "Have the server's policy of this credential allow the path."


class LoginRefused(ExternalFailed):
    """The credentials are wrong, expired or used up."""

    kind = Kind.UNAUTHENTICATED
    reason = "EXTERNAL_LOGIN_REFUSED"
    hint = (
        "Give the access a credential that the server accepts; one that was rotated is read again by itself."
    )


class WrappingTokenSpent(LoginRefused):
    """A wrapping token serves once, and this one did, or it expired."""

    reason = "EXTERNAL_WRAPPING_TOKEN_SPENT"
    hint = "If nobody here used it, somebody else did: revoke what it held. Then give another wrapping token."


class NotThere(ExternalFailed):
    """Nothing at this path."""

    kind = Kind.NOT_FOUND
    reason = "EXTERNAL_NOT_FOUND"
    hint = "Check path and mounts: a mount of KV_V2 read as KV_V1, or the other way, has nothing there."


class VersionGone(ExternalFailed):
    """This version of the secret was deleted or destroyed."""

    kind = Kind.STATE
    reason = "EXTERNAL_VERSION_GONE"
    hint = "Ask for another version, or have it undeleted."


class Refused(ExternalFailed):
    """The server does not take the request as it is."""

    kind = Kind.INVALID
    reason = "EXTERNAL_REFUSED"
    hint = "Check the access and the path; the server's log says what it missed."


class NotAsExpected(ExternalFailed):
    """The secret has not the form that was asked for."""

    kind = Kind.INVALID
    reason = "EXTERNAL_SECRET_FORM"
    hint = "Check key and encoding against what the server has at the path."


class TooLarge(ExternalFailed):
    """The answer is larger than the access allows."""

    kind = Kind.STATE
    reason = "EXTERNAL_TOO_LARGE"
    hint = "Make the secret smaller, or raise max_secret_bytes of the access."


class Unreadable(ExternalFailed):
    """Not an answer of such a server."""

    reason = "EXTERNAL_UNREADABLE"
    hint = "Check that the endpoint is that of the server itself, and not of a proxy before it."


class NotMovable(ExternalFailed):
    """A key of the vault that cannot be brought here."""

    kind = Kind.STATE
    reason = "EXTERNAL_NOT_MOVABLE"
    hint = "Rewrap its ciphertexts in the vault under a key that can be moved, or leave them there."
