"""Fetching the documents that sealing and opening need.

Bundles are handed on as they came: whoever seals verifies them against the root that he pins
(docs/spec/blindfold.md, "Bundles").
"""

from dataclasses import dataclass

from blindfold import KeyDocument
from blindfold.errors import DocumentMismatch
from kms.client.api import Api
from kms.client.resending import resend
from kms.model.names import BlindfoldKeyName, SecretPolicyName, TenantName
from protos.kms.v1 import blindfold_service_pb2 as pb

SERVICE = "BlindfoldService"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A signed bundle, not verified, and the resource it is of: a key version, or a policy's revision."""

    name: str
    bundle: bytes


def fetch_public_key(api: Api, tenant: TenantName) -> Fetched:
    """The bundle of the tenant's primary key version. Raises `CallFailed`."""
    request = pb.GetBlindfoldPublicKeyRequest(parent=str(tenant))
    answer = api.exchange(SERVICE, "GetBlindfoldPublicKey", request, pb.GetBlindfoldPublicKeyResponse)
    return Fetched(answer.name, answer.bundle)


def fetch_policy_document(api: Api, policy: SecretPolicyName) -> Fetched:
    """The bundle of the policy's current revision. Raises `CallFailed`."""
    request = pb.GetPolicyDocumentRequest(name=str(policy))
    answer = api.exchange(SERVICE, "GetPolicyDocument", request, pb.GetPolicyDocumentResponse)
    return Fetched(answer.name, answer.bundle)


class KeyDocuments:
    """Key documents for opening, each fetched once: a fingerprint is of content that never changes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[bytes, KeyDocument] = {}

    def get(self, name: BlindfoldKeyName, fingerprint: bytes) -> KeyDocument:
        """The document of that version, which has that fingerprint.

        Raises `CallFailed`, `DocumentInvalid`, `DocumentMismatch`.
        """
        document = self._known.get(fingerprint)
        if document is None:
            document = self._fetch(name)
            if document.fingerprint != fingerprint:
                raise DocumentMismatch(f"the KMS has another key under {name} than the secret is sealed to")
            self._known[fingerprint] = document
        return document

    def _fetch(self, name: BlindfoldKeyName) -> KeyDocument:
        request = pb.GetKeyDocumentRequest(name=str(name))
        fetch = self._api.prepare(SERVICE, "GetKeyDocument", request, pb.GetKeyDocumentResponse)
        return KeyDocument.parse(resend(fetch).document)
