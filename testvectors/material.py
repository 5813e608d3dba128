"""Fixed inputs of the vectors: keys, documents and signers. Nothing here protects anything."""

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from blindfold import Binding, Bundle, Delegation, KeyDocument, PolicyDocument, root_fingerprint
from blindfold._primitives import ed25519_public_key
from blindfold.documents import document_exponent
from blindfold.envelope import Metadata
from blindfold.sealing import _seal_with

KEYS_FILE = Path(__file__).parent / "keys.json"
NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
METADATA = Metadata(name="web/tls.key", content_type="text/plain", created=1_768_478_400)
SECRET = b"a secret of the vectors"


def seeded(label: str, size: int) -> bytes:
    """Reproducible bytes for a label."""
    return hashlib.shake_256(b"blindfold vectors " + label.encode()).digest(size)


@cache
def primes(label: str) -> tuple[int, int]:
    """p and q of a fixed key: `small` or `other` (1024 bits, for tests only), or `full` (3072 bits)."""
    entry = json.loads(KEYS_FILE.read_text())[label]
    return int(entry["p"], 16), int(entry["q"], 16)


def key(label: str = "small", *, tenant: str = "acme", version: int = 1) -> KeyDocument:
    p, q = primes(label)
    return KeyDocument(tenant, version, p * q)


def policy(
    *, tenant: str = "acme", binding: Binding = Binding.REVISION, revision: int = 1, name: str = "web-tls"
) -> PolicyDocument:
    rule = {"name": "web servers", "action": "ALLOW", "client_selector": {"expressions": ["app=web"]}}
    return PolicyDocument(
        tenant=tenant,
        namespace="prod",
        name=name,
        uid=seeded("uid", 16),
        revision=revision,
        nonce=seeded(f"nonce {revision}", 16),
        binding=binding,
        rule_combining="FIRST_MATCH",
        rules=(rule,),
        labels={"tier": "front"},
        description="who may open the web servers' TLS keys",
        decrypt_cache_timeout_seconds=300,
    )


def exponent(label: str, policy_document: PolicyDocument) -> int:
    return document_exponent(key(label), policy_document)


def root_of(element: bytes, label: str, e: int) -> bytes:
    """What an honest KMS answers."""
    p, q = primes(label)
    d = pow(e, -1, (p - 1) * (q - 1))
    return pow(int.from_bytes(element, "big"), d, p * q).to_bytes(len(element), "big")


def sealed(
    secret: bytes = SECRET,
    *,
    key_document: KeyDocument | None = None,
    policy_document: PolicyDocument | None = None,
    metadata: Metadata = METADATA,
    pad: bool = False,
    seed: bytes | None = None,
) -> bytes:
    """Seal with a fixed seed; the same arguments give the same bytes."""
    sink = io.BytesIO()
    _seal_with(
        io.BytesIO(secret),
        sink,
        key_document or key(),
        policy_document or policy(),
        metadata=metadata,
        pad_to=len(secret) if pad else None,
        seed=seed or seeded("seed", 64),
    )
    return sink.getvalue()


def root_seed() -> bytes:
    return seeded("documents root", 32)


def trust() -> str:
    return root_fingerprint(ed25519_public_key(root_seed()))


def delegation(type_: str, *, tenant: str = "acme", root: bytes | None = None) -> Delegation:
    return Delegation.sign(
        root or root_seed(),
        type_=type_,
        tenant=tenant,
        key=ed25519_public_key(seeded("signer", 32)),
        not_before=NOW - DAY,
        not_after=NOW + 90 * DAY,
    )


def bundle(
    document: KeyDocument | PolicyDocument,
    *,
    by: Delegation | None = None,
    signer: bytes | None = None,
    issued_at: datetime = NOW,
    not_after: datetime = NOW + 7 * DAY,
) -> Bundle:
    return Bundle.sign(
        signer or seeded("signer", 32),
        document,
        by or delegation(document.TYPE, tenant=document.tenant),
        issued_at=issued_at,
        not_after=not_after,
    )
