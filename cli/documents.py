"""Reading signed documents from files, with errors that name the file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from blindfold.bundle import Bundle, parse_time, root_fingerprint
from blindfold.documents import KeyDocument, PolicyDocument
from blindfold.errors import BlindfoldError
from blindfold.modulus import check_modulus
from cli.output import warn
from cli.secret_io import read_document

_Document = TypeVar("_Document")

# How the command line calls each type of document.
POLICY_DOCUMENT = "policy-document"
PUBLIC_KEY = "public-key"
TYPE_NAMES: Mapping[str, str] = MappingProxyType(
    {PolicyDocument.TYPE: POLICY_DOCUMENT, KeyDocument.TYPE: PUBLIC_KEY}
)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a bundle is verified against: the pinned fingerprints, the time, and mercy for its date."""

    keys: frozenset[str]
    now: datetime
    allow_expired: bool = False


@dataclass(frozen=True, slots=True)
class Verified(Generic[_Document]):
    """A document and the bundle that vouched for it."""

    document: _Document
    bundle: Bundle
    expired: bool

    @property
    def root(self) -> str:
        """The fingerprint of the documents root that vouches for it."""
        return root_fingerprint(self.bundle.delegation.root)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an error of a public document."""
    try:
        yield
    except BlindfoldError as error:
        raise type(error)(f"{path}: {error}") from None


def read_bundle(path: Path) -> Bundle:
    """Parsed, not verified. Raises `DocumentInvalid`, `UsageError`."""
    data = read_document(path)
    with naming(path):
        return Bundle.parse(data)


def parse_unverified(bundle: Bundle) -> KeyDocument | PolicyDocument:
    """The document that a bundle claims to hold. Raises `DocumentInvalid`."""
    if bundle.delegation.type == KeyDocument.TYPE:
        return KeyDocument.parse(bundle.document)
    return PolicyDocument.parse(bundle.document)


def is_expired(bundle: Bundle, now: datetime) -> bool:
    return now >= parse_time(bundle.not_after, "not_after")


def verify_key(bundle: Bundle, trust: Trust) -> KeyDocument:
    """The key document, its modulus checked too. Raises as `Bundle.verify`, and `KeyUnacceptable`."""
    document = bundle.verify(KeyDocument, trust=trust.keys, now=trust.now, allow_expired=trust.allow_expired)
    check_modulus(document.n)
    return document


def verify_policy(bundle: Bundle, trust: Trust) -> PolicyDocument:
    """Raises as `Bundle.verify`."""
    return bundle.verify(PolicyDocument, trust=trust.keys, now=trust.now, allow_expired=trust.allow_expired)


VERIFIERS: Mapping[str, Callable[[Bundle, Trust], KeyDocument | PolicyDocument]] = MappingProxyType(
    {POLICY_DOCUMENT: verify_policy, PUBLIC_KEY: verify_key}
)


def read_verified(
    path: Path, verifier: Callable[[Bundle, Trust], _Document], trust: Trust
) -> Verified[_Document]:
    """A document of which every link to a pinned root holds. Raises as the verifier, naming the file.

    Warns of one that is accepted past its date.
    """
    bundle = read_bundle(path)
    with naming(path):
        document = verifier(bundle, trust)
    expired = is_expired(bundle, trust.now)
    if expired:
        warn(f"{path} expired at {bundle.not_after}; it is used because --allow-expired was given")
    return Verified(document, bundle, expired)


def bundle_fields(bundle: Bundle) -> dict[str, Any]:
    """The dates and the chain of a bundle."""
    return {
        "issued_at": bundle.issued_at,
        "not_after": bundle.not_after,
        "delegation_not_after": bundle.delegation.not_after,
        "root": root_fingerprint(bundle.delegation.root),
    }
