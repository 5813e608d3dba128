"""Signed bundles: how documents travel, and who may sign them (docs/spec/blindfold.md, "Bundles").

    documents root key (pinned by fingerprint) --signs--> delegation (one document type, one tenant)
    delegated key --signs--> bundle (one document, for some days)

These keys are Ed25519 and serve nothing else: a workload certificate or an enrolment CA cannot sign a
document, however much it is trusted elsewhere.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self, TypeVar

from blindfold import _canonical, _primitives
from blindfold._encoding import b64url, lp
from blindfold.documents import KeyDocument, PolicyDocument, check_id, document_bytes
from blindfold.errors import DocumentExpired, DocumentInvalid, DocumentMismatch, DocumentUntrusted

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
DEFAULT_LIFE = timedelta(days=7)
CLOCK_SKEW = timedelta(minutes=5)
FINGERPRINT_PREFIX = "sha256:"

_Document = TypeVar("_Document", KeyDocument, PolicyDocument)


def print_time(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def parse_time(text: str, what: str) -> datetime:
    """The inverse of `print_time`, refusing any other form. Raises `DocumentInvalid`."""
    try:
        moment = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or print_time(moment) != text:
        raise DocumentInvalid(f"{what}: not a time of the form 2026-01-31T00:00:00Z")
    return moment


def signer_public_key(seed: bytes) -> bytes:
    """The 32-byte Ed25519 public key of a signer's 32-byte seed."""
    return _primitives.ed25519_public_key(seed)


def root_fingerprint(root_key: bytes) -> str:
    """`sha256:` and the hex digest that names a documents root key; what sealers pin."""
    return FINGERPRINT_PREFIX + _primitives.sha256(b"blindfold/v1 documents root\x00" + root_key).hex()


@dataclass(frozen=True, slots=True)
class Delegation:
    """The documents root key's word that `key` may sign documents of one type for one tenant, for a time."""

    FIELDS: ClassVar[frozenset[str]] = frozenset(
        {"type", "tenant", "key", "not_before", "not_after", "root", "signature"}
    )

    type: str
    tenant: str
    key: bytes
    not_before: str
    not_after: str
    root: bytes
    signature: bytes

    @staticmethod
    def signed_bytes(type_: str, tenant: str, key: bytes, not_before: str, not_after: str) -> bytes:
        parts = (type_.encode(), tenant.encode(), key, not_before.encode(), not_after.encode())
        return b"blindfold/v1 delegation\x00" + b"".join(lp(part) for part in parts)

    @classmethod
    def sign(
        cls,
        root_seed: bytes,
        *,
        type_: str,
        tenant: str,
        key: bytes,
        not_before: datetime,
        not_after: datetime,
    ) -> Self:
        """Sign with the 32-byte seed of the documents root key."""
        start, end = print_time(not_before), print_time(not_after)
        message = cls.signed_bytes(type_, tenant, key, start, end)
        root = _primitives.ed25519_public_key(root_seed)
        return cls(type_, tenant, key, start, end, root, _primitives.ed25519_sign(root_seed, message))

    def to_json(self) -> _canonical.JsonObject:
        return {
            "type": self.type,
            "tenant": self.tenant,
            "key": b64url(self.key),
            "not_before": self.not_before,
            "not_after": self.not_after,
            "root": b64url(self.root),
            "signature": b64url(self.signature),
        }

    @classmethod
    def from_json(cls, obj: _canonical.JsonObject) -> Self:
        """Raises `DocumentInvalid`."""
        what = "delegation"
        _canonical.expect_fields(obj, cls.FIELDS, what)
        type_ = _canonical.field(obj, "type", str, what)
        if type_ not in (KeyDocument.TYPE, PolicyDocument.TYPE):
            raise DocumentInvalid(f"{what}: unknown document type")
        return cls(
            type=type_,
            tenant=check_id(_canonical.field(obj, "tenant", str, what), what),
            key=_sized(document_bytes(obj, "key", what), 32, "key"),
            not_before=_time(obj, "not_before", what),
            not_after=_time(obj, "not_after", what),
            root=_sized(document_bytes(obj, "root", what), 32, "root"),
            signature=_sized(document_bytes(obj, "signature", what), 64, "signature"),
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """A document with the dates and signatures that vouch for it. Parsed is not verified: see `verify`."""

    FIELDS: ClassVar[frozenset[str]] = frozenset(
        {"document", "issued_at", "not_after", "delegation", "signature"}
    )

    document: bytes
    issued_at: str
    not_after: str
    delegation: Delegation
    signature: bytes

    @staticmethod
    def signed_bytes(type_: str, issued_at: str, not_after: str, document: bytes) -> bytes:
        parts = (type_.encode(), issued_at.encode(), not_after.encode())
        return b"blindfold/v1 document\x00" + b"".join(lp(part) for part in parts) + document

    @classmethod
    def sign(
        cls,
        seed: bytes,
        document: KeyDocument | PolicyDocument,
        delegation: Delegation,
        *,
        issued_at: datetime,
        not_after: datetime,
    ) -> Self:
        """Sign with the 32-byte seed of the delegated key."""
        start, end = print_time(issued_at), print_time(not_after)
        data = document.to_bytes()
        signature = _primitives.ed25519_sign(seed, cls.signed_bytes(document.TYPE, start, end, data))
        return cls(data, start, end, delegation, signature)

    def to_bytes(self) -> bytes:
        return _canonical.dump(
            {
                "document": b64url(self.document),
                "issued_at": self.issued_at,
                "not_after": self.not_after,
                "delegation": self.delegation.to_json(),
                "signature": b64url(self.signature),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """One newline at the end is allowed, as text files have it. Raises `DocumentInvalid`."""
        what = "bundle"
        obj = _canonical.load(data.removesuffix(b"\n"), what)
        _canonical.expect_fields(obj, cls.FIELDS, what)
        return cls(
            document=document_bytes(obj, "document", what),
            issued_at=_time(obj, "issued_at", what),
            not_after=_time(obj, "not_after", what),
            delegation=Delegation.from_json(_canonical.field(obj, "delegation", dict, what)),
            signature=_sized(document_bytes(obj, "signature", what), 64, "signature"),
        )

    def verify(
        self,
        document_class: type[_Document],
        *,
        trust: Collection[str],
        now: datetime,
        allow_expired: bool = False,
    ) -> _Document:
        """The document, once every link from a pinned fingerprint to its bytes has been checked.

        `trust` holds fingerprints as `root_fingerprint` prints them. Order: root, delegation, bundle,
        document, dates. Raises `DocumentUntrusted`, `DocumentInvalid`, `DocumentMismatch`,
        `DocumentExpired`.
        """
        delegation = self.delegation
        if root_fingerprint(delegation.root) not in trust:
            raise DocumentUntrusted(
                f"the documents root key {root_fingerprint(delegation.root)} is not pinned"
            )
        _check_signature(
            delegation.root,
            Delegation.signed_bytes(
                delegation.type,
                delegation.tenant,
                delegation.key,
                delegation.not_before,
                delegation.not_after,
            ),
            delegation.signature,
            "delegation",
        )
        if delegation.type != document_class.TYPE:
            raise DocumentUntrusted(f"the delegation is for {delegation.type!r}, not {document_class.TYPE!r}")
        message = self.signed_bytes(document_class.TYPE, self.issued_at, self.not_after, self.document)
        _check_signature(delegation.key, message, self.signature, "bundle")
        document = document_class.parse(self.document)
        if document.tenant != delegation.tenant:
            raise DocumentMismatch("the delegation and the document name different tenants")
        self._check_dates(now, allow_expired=allow_expired)
        return document

    def _check_dates(self, now: datetime, *, allow_expired: bool) -> None:
        issued_at, not_after = (
            parse_time(self.issued_at, "issued_at"),
            parse_time(self.not_after, "not_after"),
        )
        start = parse_time(self.delegation.not_before, "delegation not_before")
        end = parse_time(self.delegation.not_after, "delegation not_after")
        if not start <= issued_at < not_after <= end:
            raise DocumentUntrusted("the bundle's dates lie outside those of its delegation")
        if issued_at > now + CLOCK_SKEW:
            raise DocumentExpired(f"the document is dated {self.issued_at}, in the future of this clock")
        if now >= not_after and not allow_expired:
            raise DocumentExpired(f"the document expired at {self.not_after}")


def _sized(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise DocumentInvalid(f"{what}: {len(value)} bytes, {size} expected")
    return value


def _time(obj: _canonical.JsonObject, name: str, what: str) -> str:
    """A member that holds a time, still as its text: the signature is over the text."""
    text = _canonical.field(obj, name, str, what)
    parse_time(text, name)
    return str(text)


def _check_signature(key: bytes, message: bytes, signature: bytes, what: str) -> None:
    try:
        _primitives.ed25519_verify(key, message, signature)
        return
    except _primitives.BadSignatureError:
        pass
    raise DocumentUntrusted(f"the signature of the {what} does not hold")
