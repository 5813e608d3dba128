"""Whom others may vouch for, as messages of issuers and of authorities have it."""

from kms.identity.admission import Admission
from protos.kms.v1.jwt_issuer_service_pb2 import JwtIssuer
from protos.kms.v1.trusted_authority_service_pb2 import TrustedAuthority


def to_admission(asked: JwtIssuer | TrustedAuthority) -> Admission:
    """Raises `InvalidField`, `LimitExceeded`."""
    return Admission(
        subjects=tuple(asked.subjects),
        claims=dict(asked.claims),
        namespace=asked.namespace,
        identity=asked.identity,
        labels=dict(asked.labels),
        roles=frozenset(asked.roles),
    )
