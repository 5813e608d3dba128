"""Explaining a policy: for whom, and what overrules its rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from kms.authz.explain import Explanation
from kms.errors import Denied
from kms.identity.issued import IssuedCertificate
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import Identity, OperatorName
from kms.model.policy import Action
from kms.model.policy_records import RevisionRecord, SecretPolicyRecord
from kms.model.records import IdentityRecord
from kms.services.repository import Repository


@dataclass(frozen=True, slots=True)
class KnownIdentity:
    """An enrolled identity that would call from `address` at `time` (UTC), with what its record grants.

    The rest is about a key, and as in `AccessRequest`.
    """

    identity: Identity
    address: str
    time: datetime
    operation: str | None = None
    resource_labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    key_name: str = ""
    aad: bytes | None = None

    def request(self, repository: Repository, tenant: str) -> AccessRequest:
        """Raises `Denied` for an identity that is unknown, or not of the tenant."""
        is_theirs = not isinstance(self.identity, OperatorName) and self.identity.tenant == tenant
        loaded = repository.load(IdentityRecord, str(self.identity)) if is_theirs else None
        if loaded is None:
            raise Denied("UNKNOWN_IDENTITY")
        return AccessRequest(
            caller=known_caller(self.identity, loaded.record, self.address),
            time=self.time,
            operation=self.operation,
            resource_labels=self.resource_labels,
            key_name=self.key_name,
            aad=self.aad,
        )


def known_caller(identity: Identity, record: IdentityRecord, address: str) -> Caller:
    """An enrolled identity as its next call would show it, with its newest certificate."""
    newest = IssuedCertificate.parse(record.certificates[-1]) if record.certificates else None
    return Caller(
        identity=identity,
        spiffe_id=record.spiffe_id,
        names=(record.spiffe_id, *record.dns_names),
        labels=record.labels,
        roles=frozenset(record.roles),
        address=address,
        serial=0 if newest is None else int(newest.serial, 16),
        issued_at=None if newest is None else newest.not_before,
    )


def reason_to_deny(head: SecretPolicyRecord, row: RevisionRecord, caller: Caller, tenant: str) -> str:
    """Why the caller is denied before any rule is asked, as in `kms.services.evaluation`; else ""."""
    reasons = (
        (caller.tenant != tenant, "the caller is not of the policy's tenant"),
        (head.delete_time is not None, "the policy is deleted"),
        (row.revoke_time is not None, "the revision is revoked"),
        (caller.spiffe_id in row.denied, "the revision's deny overlay names the caller"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def overruled(explanation: Explanation, reason: str) -> Explanation:
    """The explanation as it is, or that of a denial whatever the rules say."""
    if not reason:
        return explanation
    decision = replace(explanation.decision, action=Action.DENY, rule_index=None)
    summary = f"DENY: {reason}; by its rules alone: {explanation.summary}"
    return replace(explanation, decision=decision, summary=summary)
