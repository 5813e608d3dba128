"""Who signs documents: the documents root key, and the delegated key of each tenant and document type.

docs/spec/blindfold.md, "Bundles". The root signs delegations only; it lies wrapped under the root key and
is unwrapped for the moment of signing.
"""

import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from blindfold import Bundle, Delegation, KeyDocument, PolicyDocument
from blindfold.bundle import CLOCK_SKEW, DEFAULT_LIFE, root_fingerprint, signer_public_key
from blindfold.secret import SecretBytes
from kms.crypto.key_hierarchy import DOCUMENTS_ROOT
from kms.model.records import SignerRecord
from kms.services.keyring import Keyring
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import Change

ROOT = "root"
DELEGATION_LIFE = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
SEED_SIZE = 32


class DocumentSigning:
    """Makes signed bundles, and renews delegations when they near their end."""

    def __init__(self, repository: Repository, keyring: Keyring) -> None:
        self._repository = repository
        self._keyring = keyring

    def create_root(self) -> tuple[str, Change]:
        """A new documents root key: its fingerprint, and the row to write, before anything is served."""
        with SecretBytes(secrets.token_bytes(SEED_SIZE)) as seed:
            row, _ = self._keyring.new_root_wrapped(DOCUMENTS_ROOT, ROOT, seed)
            return root_fingerprint(signer_public_key(seed.reveal())), row

    def fingerprint(self) -> str:
        """Of the documents root key, as sealers pin it."""
        with self._root_seed() as seed:
            return root_fingerprint(signer_public_key(seed.reveal()))

    def sign(self, document: KeyDocument | PolicyDocument, now: datetime) -> tuple[bytes, Sequence[Change]]:
        """A bundle for seven days from now, and the renewed delegation to write if it had to be renewed."""
        loaded = self._repository.load(SignerRecord, _row(document))
        end = now + DEFAULT_LIFE
        if loaded is not None and _holds(loaded, now + RENEW_BEFORE):
            return self._bundle(document, loaded.record, now, end), ()
        record = self._delegate(document, now)
        change = create(_row(document), record) if loaded is None else loaded.put(record)
        return self._bundle(document, record, now, end), [change]

    def _bundle(
        self, document: KeyDocument | PolicyDocument, record: SignerRecord, now: datetime, end: datetime
    ) -> bytes:
        delegation = Delegation.from_json(json.loads(record.delegation))
        with self._keyring.of_tenant(document.tenant).unwrap_signer(_row(document), record) as seed:
            return Bundle.sign(seed.reveal(), document, delegation, issued_at=now, not_after=end).to_bytes()

    def _delegate(self, document: KeyDocument | PolicyDocument, now: datetime) -> SignerRecord:
        seed = SecretBytes(secrets.token_bytes(SEED_SIZE))
        end = now + DELEGATION_LIFE
        with self._root_seed() as root:
            delegation = Delegation.sign(
                root.reveal(),
                type_=document.TYPE,
                tenant=document.tenant,
                key=signer_public_key(seed.reveal()),
                not_before=now - CLOCK_SKEW,
                not_after=end,
            )
        wrapped = self._keyring.of_tenant(document.tenant).wrap_signer(_row(document), seed)
        return SignerRecord(wrapped, json.dumps(delegation.to_json()), end)

    def _root_seed(self) -> SecretBytes:
        return self._keyring.root_wrapped(DOCUMENTS_ROOT, ROOT)


def _row(document: KeyDocument | PolicyDocument) -> str:
    kind = document.TYPE.rpartition(" ")[2]
    return f"tenants/{document.tenant}/documentSigners/{kind}"


def _holds(signer: Loaded[SignerRecord], until: datetime) -> bool:
    end = signer.record.delegation_not_after
    return until <= end
