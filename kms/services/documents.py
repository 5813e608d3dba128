"""The documents that sealing and opening need, handed out (docs/spec/blindfold.md, "Bundles").

Signed are only the primary key version and the current revision of a policy that is not deleted.
"""

from kms.errors import Denied, WrongState
from kms.model.lifecycle import VersionState
from kms.model.names import BlindfoldKeyName, SecretPolicyName, SecretPolicyRevisionName, TenantName
from kms.model.policy_records import RevisionRecord, SecretPolicyRecord
from kms.model.records import BlindfoldKeyRecord, PrimaryRecord
from kms.services.blindfold_keys import key_document, key_row
from kms.services.call import Call, Outcome
from kms.services.document_signing import DocumentSigning
from kms.services.guard import Action, Guard
from kms.services.policy_changes import revision_row
from kms.services.policy_documents import PolicyDocuments
from kms.services.repository import Repository, found

PUBLIC_KEY = Action("GetBlindfoldPublicKey", "blindfold.getPublicKey")
POLICY_DOCUMENT = Action("GetPolicyDocument", "blindfold.getPolicyDocument")
KEY_DOCUMENT = "GetKeyDocument"


class Documents:
    """Signs with `signing`; a renewed delegation is committed with the call's event."""

    def __init__(
        self, guard: Guard, repository: Repository, documents: PolicyDocuments, signing: DocumentSigning
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._documents = documents
        self._signing = signing

    async def public_key(self, call: Call, parent: TenantName) -> tuple[BlindfoldKeyName, bytes]:
        """The primary version and its signed bundle. Raises `WrongState` where none is ENABLED."""

        def act() -> Outcome[tuple[BlindfoldKeyName, bytes]]:
            version = self._repository.require(PrimaryRecord, str(parent)).record.version
            if not version:
                raise WrongState(f"{parent} has no Blindfold key yet; generate one")
            name = BlindfoldKeyName(parent.tenant, version)
            record = self._repository.require(BlindfoldKeyRecord, key_row(name)).record
            if record.state != VersionState.ENABLED:
                raise WrongState(f"the primary version {name} is {record.state}", state=record.state)
            bundle, changes = self._signing.sign(key_document(name, record), call.time)
            return Outcome((name, bundle), changes, {"version": str(version)})

        return await self._guard.perform(call, PUBLIC_KEY, parent, act)

    async def policy_document(
        self, call: Call, name: SecretPolicyName
    ) -> tuple[SecretPolicyRevisionName, bytes]:
        """The current revision and its signed bundle. Raises `NotFound`, `WrongState`."""

        def act() -> Outcome[tuple[SecretPolicyRevisionName, bytes]]:
            head = found(self._repository.load(SecretPolicyRecord, str(name)), str(name)).record
            if head.delete_time is not None:
                raise WrongState(f"{name} is deleted; undelete it, or seal under another policy")
            record = self._repository.require(RevisionRecord, revision_row(name, head.revision)).record
            if record.revoke_time is not None:
                raise WrongState(f"revision {head.revision} of {name} is revoked; update the policy first")
            bundle, changes = self._signing.sign(self._documents.read(record).document, call.time)
            revision = SecretPolicyRevisionName(name.tenant, name.namespace, name.policy, head.revision)
            return Outcome((revision, bundle), changes, {"revision": str(head.revision)})

        return await self._guard.perform(call, POLICY_DOCUMENT, name, act, in_thread=True)

    async def key_document(self, call: Call, name: BlindfoldKeyName) -> bytes:
        """The document of any generated version, for openers; any identity of the tenant may have it.

        Raises `Denied`, also for a version that does not exist, and `WrongState`.
        """

        def act() -> Outcome[bytes]:
            loaded = self._repository.load(BlindfoldKeyRecord, key_row(name))
            if loaded is None:
                raise Denied("UNKNOWN_KEY")
            return Outcome(key_document(name, loaded.record).to_bytes())

        return await self._guard.perform(call, Action(KEY_DOCUMENT, ""), name, act)
