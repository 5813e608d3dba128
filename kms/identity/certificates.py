"""From a presented certificate to a `Caller` (docs/spec/identity.md, "What is checked at each call")."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from kms.errors import InvalidField, Unauthenticated
from kms.identity.authority import MAX_LEAF_LIFE
from kms.identity.extension import ATTRIBUTES_OID, Attributes, decode_attributes
from kms.identity.grant import MAX_DNS_NAMES
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId, check_dns_name
from kms.identity.trust import TrustAnchor, authority_id, key_digest
from kms.model.caller import Caller
from kms.model.validity import Validity

MAX_CERTIFICATE = 32 * 1024
CACHE_ENTRIES = 4096
# Of one certificate: callers behind a proxy come from many.
ADDRESSES = 16

_PEM_START = b"-----BEGIN CERTIFICATE-----"
_KNOWN_CRITICAL = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_LEAF_USAGES = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH})

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a leaf certificate says. `attributes` is None if it has no labels-and-roles extension.

    `authority` is the id of the intermediate that issued it, "" while that is not known.
    """

    spiffe_id: SpiffeId
    dns_names: tuple[str, ...]
    attributes: Attributes | None
    serial: int
    validity: Validity
    authority: str = ""


def load_certificate(data: bytes) -> x509.Certificate:
    """Exactly one certificate, PEM or DER, of at most 32 KiB. Raises `Unauthenticated`."""
    if len(data) > MAX_CERTIFICATE:
        raise Unauthenticated(f"the certificate has {len(data)} bytes, at most {MAX_CERTIFICATE} are allowed")
    try:
        if _PEM_START in data:
            certificates = x509.load_pem_x509_certificates(data)
        else:
            certificates = [x509.load_der_x509_certificate(data)]
    except (ValueError, x509.InvalidVersion):
        certificates = []
    if len(certificates) != 1:
        raise Unauthenticated("not one X.509 certificate in PEM or DER")
    return certificates[0]


def parse_leaf(certificate: x509.Certificate) -> Leaf:
    """Check the profile and read the fields; signatures and time are not looked at.

    Raises `Unauthenticated`, saying what the certificate breaks.
    """
    try:
        extensions = certificate.extensions
        validity = Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, InvalidField):
        raise Unauthenticated("the certificate's extensions or dates cannot be read") from None
    _check_profile(extensions)
    # The deny list forgets an identity when all it held is over (docs/spec/identity.md, "Revocation").
    if validity.not_after - validity.not_before > MAX_LEAF_LIFE:
        raise Unauthenticated("the certificate is for more than 24 hours")
    spiffe_id, dns_names = _subject_names(extensions)
    return Leaf(spiffe_id, dns_names, _attributes(extensions), certificate.serial_number, validity)


def find_extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    """The value of that kind, None if there is none."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_profile(extensions: x509.Extensions) -> None:
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            raise Unauthenticated(f"the certificate has the critical extension {extension.oid.dotted_string}")
    constraints = find_extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise Unauthenticated("the certificate is a certificate authority's, not an identity's")
    usage = find_extension(extensions, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        raise Unauthenticated("the certificate's key usage lacks digitalSignature")
    if usage.key_cert_sign or usage.crl_sign:
        raise Unauthenticated("the certificate's key usage has keyCertSign or cRLSign")
    extended = frozenset(find_extension(extensions, x509.ExtendedKeyUsage) or ())
    if ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        raise Unauthenticated("the certificate's extended key usage lacks clientAuth")
    if not extended <= _LEAF_USAGES:
        raise Unauthenticated("the certificate's extended key usage has more than clientAuth and serverAuth")


def _subject_names(extensions: x509.Extensions) -> tuple[SpiffeId, tuple[str, ...]]:
    names = list(find_extension(extensions, x509.SubjectAlternativeName) or ())
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    hosts = [name.value for name in names if isinstance(name, x509.DNSName)]
    if len(uris) != 1:
        raise Unauthenticated(f"the certificate names {len(uris)} URIs; an identity is exactly one")
    if len(uris) + len(hosts) != len(names):
        raise Unauthenticated("the certificate has subject alternative names besides one URI and DNS names")
    if len(hosts) > MAX_DNS_NAMES:
        raise Unauthenticated(f"the certificate has {len(hosts)} DNS names, at most {MAX_DNS_NAMES} count")
    try:
        dns_names = tuple(check_dns_name(host.lower(), "DNS name") for host in hosts)
        return SpiffeId.parse(uris[0]), dns_names
    except InvalidField as error:
        reason = error.message
    raise Unauthenticated(f"the certificate's names: {reason}")


def _attributes(extensions: x509.Extensions) -> Attributes | None:
    for extension in extensions:
        if extension.oid == ATTRIBUTES_OID and isinstance(extension.value, x509.UnrecognizedExtension):
            return decode_attributes(extension.value.value)
    return None


def verify_leaf(certificate: x509.Certificate, anchors: Sequence[TrustAnchor], now: datetime) -> Leaf:
    """The leaf, of which profile, time, signatures up to an anchor and the anchor's policy are verified.

    Its `validity` ends with the first of its chain to expire. Of several anchors, the first that
    admits it decides. Raises `Unauthenticated`. Revocation is not looked at.
    """
    leaf = parse_leaf(certificate)
    leaf.validity.check(now)
    refusal = Unauthenticated("the certificate is of no authority this KMS trusts")
    for anchor in anchors:
        try:
            # `check` has let a leaf through that begins within the skew; the verifier knows no skew.
            chain = anchor.chain(certificate, max(now, leaf.validity.not_before))
        except Unauthenticated:
            continue
        try:
            anchor.policy.admit(leaf.spiffe_id, leaf.attributes)
        except Unauthenticated as error:
            refusal = error
            continue
        end = min(item.not_valid_after_utc for item in chain)
        validity = Validity(leaf.validity.not_before, end)
        return replace(leaf, validity=validity, authority=authority_id(key_digest(chain[1])))
    raise refusal


@dataclass(frozen=True, slots=True)
class Vouched:
    """A caller whom another authority vouches for, how long its path holds, and what that was read from."""

    caller: Caller
    validity: Validity
    basis: Any


class OtherAuthorities(Protocol):
    """Authorities of the tenants' own. They certify whom the KMS does not."""

    def knows(self, issuer: bytes) -> bool:
        """Whether one of them has the name, in DER."""
        ...

    def verify(self, certificate: x509.Certificate, now: datetime) -> Vouched:
        """Raises `Unauthenticated`."""
        ...

    def is_current(self, vouched: Vouched) -> bool:
        """Whether its authority is as it was asked."""
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    """`leaf` is of our own authority, verified by the `anchors`, `vouched` of another one.

    `admitted_at` is the revision of trust and deny lists by which it was admitted last.
    """

    caller: Caller
    validity: Validity
    leaf: Leaf | None = None
    anchors: Sequence[TrustAnchor] = ()
    vouched: Vouched | None = None
    admitted_at: int | None = None
    callers: dict[str, Caller] = field(default_factory=dict)

    def at(self, address: str) -> Caller:
        """The caller at an IP address, the same object while it is one of the last few."""
        known = self.callers.get(address)
        if known is None:
            if len(self.callers) >= ADDRESSES:
                self.callers.clear()
            known = self.callers[address] = replace(self.caller, address=address)
        return known


class Authenticator:
    """Turns the certificate that a connection presented into a `Caller`, at every call.

    Signatures are verified once for a certificate's exact bytes and then remembered, least recently used
    first forgotten; time and revocation are looked at in every call. `anchors` gives those that are trusted
    now, the same object until they change, which has everything verified anew. `deny_list` gives the list now
    in force for a tenant, or for the platform's operators (None). The `others` may change by themselves.
    `revision` is another number whenever anchors or deny lists may be others; None: that is not known.
    """

    def __init__(
        self,
        anchors: Callable[[], Sequence[TrustAnchor]],
        deny_list: Callable[[str | None], DenyList],
        entries: int = CACHE_ENTRIES,
        others: OtherAuthorities | None = None,
        revision: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._anchors = anchors
        self._deny_list = deny_list
        self._others = others
        self._revision = revision
        self._limit = entries
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(self, certificate: bytes, address: str, now: datetime) -> Caller:
        """The caller. `address` is the client's IP address in text. Raises `Unauthenticated`."""
        return self._admitted(certificate, now).at(address)

    def leaf(self, certificate: bytes, now: datetime) -> Leaf:
        """The same checks, for those who need serial and dates, as a renewal does."""
        leaf = self._admitted(certificate, now).leaf
        if leaf is None:
            raise Unauthenticated("the certificate is of another authority; have that one renew it")
        return leaf

    def _admitted(self, certificate: bytes, now: datetime) -> _Entry:
        # Before anything is looked at, so that a change meanwhile is seen by the next call.
        revision = self._revision()
        with self._lock:
            entry = self._entries.get(certificate)
            if entry is not None:
                self._entries.move_to_end(certificate)
        if entry is not None and revision is not None and entry.admitted_at == revision:
            entry.validity.check(now)
            return entry
        if entry is None or not self._is_current(entry):
            entry = self._verified(load_certificate(certificate), now)
            self._remember(certificate, entry)
        entry.validity.check(now)
        caller, start = entry.caller, entry.validity.not_before
        self._deny_list(caller.tenant).check(caller.serial, caller.spiffe_id, start)
        entry.admitted_at = revision if entry.vouched is None else None
        return entry

    def _is_current(self, entry: _Entry) -> bool:
        if entry.vouched is None or self._others is None:
            return entry.anchors is self._anchors()
        return self._others.is_current(entry.vouched)

    def _verified(self, certificate: x509.Certificate, now: datetime) -> _Entry:
        """Our own authority is asked first: no other one stands in for it by having its name."""
        issuer, anchors = _issuer(certificate), self._anchors()
        is_own = any(anchor.has_authority(issuer) for anchor in anchors)
        if self._others is not None and not is_own and self._others.knows(issuer):
            vouched = self._others.verify(certificate, now)
            return _Entry(vouched.caller, vouched.validity, vouched=vouched)
        return _entry(verify_leaf(certificate, anchors, now), anchors)

    def _remember(self, certificate: bytes, entry: _Entry) -> None:
        with self._lock:
            self._entries[certificate] = entry
            while len(self._entries) > self._limit:
                self._entries.popitem(last=False)


def _issuer(certificate: x509.Certificate) -> bytes:
    """The issuer's name in DER. Raises `Unauthenticated`."""
    try:
        return certificate.issuer.public_bytes()
    except (ValueError, TypeError):
        raise Unauthenticated("the certificate's issuer cannot be read") from None


def _entry(leaf: Leaf, anchors: Sequence[TrustAnchor]) -> _Entry:
    spiffe_id = str(leaf.spiffe_id)
    attributes = leaf.attributes or Attributes()
    caller = Caller(
        identity=leaf.spiffe_id.identity,
        spiffe_id=spiffe_id,
        names=(spiffe_id, *leaf.dns_names),
        labels=attributes.labels,
        roles=attributes.roles,
        serial=leaf.serial,
        issued_at=leaf.validity.not_before,
        authority=leaf.authority,
    )
    return _Entry(caller, leaf.validity, leaf, anchors)
