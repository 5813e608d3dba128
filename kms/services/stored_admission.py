"""Whom others may vouch for, as it lies in the records of issuers and of authorities."""

from typing import Any

from kms.identity.admission import Admission
from kms.model.records import JwtIssuerRecord, TrustedAuthorityRecord


def admission_of(record: JwtIssuerRecord | TrustedAuthorityRecord) -> Admission:
    return Admission(
        subjects=record.subjects,
        claims=record.claims,
        namespace=record.namespace,
        identity=record.identity,
        labels=record.labels,
        roles=frozenset(record.roles),
    )


def admission_fields(admission: Admission) -> dict[str, Any]:
    """The fields of a record, by their names."""
    return {
        "subjects": admission.subjects,
        "claims": admission.claims,
        "namespace": admission.namespace,
        "identity": admission.identity,
        "labels": admission.labels,
        "roles": tuple(sorted(admission.roles)),
    }
