"""The identities that a revision denies before its rules are asked: added to, never taken from."""

from collections.abc import Sequence

from kms.errors import InvalidField, LimitExceeded
from kms.identity.spiffe import SpiffeId
from kms.model.names import OperatorName

MAX_DENIED = 4096
MAX_DENIED_BYTES = 1 << 19
FIELD = "denied_identities"


def extended(
    denied: Sequence[str], more: Sequence[str], *, trust_domain: str, tenant: str
) -> tuple[str, ...]:
    """Both, sorted. `more` are SPIFFE ids of identities of the tenant.

    One of another trust domain or tenant denies nobody, so it is taken for a slip. Raises `InvalidField`,
    `LimitExceeded` above 4,096 identities or 512 KiB.
    """
    if not more:
        raise InvalidField(FIELD, "names nobody")
    for index, text in enumerate(more):
        _check(text, f"{FIELD}[{index}]", trust_domain, tenant)
    union = tuple(sorted({*denied, *more}))
    if len(union) > MAX_DENIED or sum(map(len, union)) > MAX_DENIED_BYTES:
        raise LimitExceeded(
            FIELD,
            f"more than {MAX_DENIED} identities, or {MAX_DENIED_BYTES} bytes; revoke the revision instead",
        )
    return union


def _check(text: str, field: str, trust_domain: str, tenant: str) -> None:
    try:
        named = SpiffeId.parse(text)
    except InvalidField:
        named = None
    if named is None:
        raise InvalidField(field, "is not a SPIFFE id of an identity")
    if named.trust_domain != trust_domain:
        raise InvalidField(field, f"is of the trust domain {named.trust_domain}, not of {trust_domain}")
    if isinstance(named.identity, OperatorName) or named.identity.tenant != tenant:
        raise InvalidField(field, f"is not of an identity of the tenant {tenant}")
