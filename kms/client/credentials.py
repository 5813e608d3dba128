"""The client's side of identity: its key, its certificate, and the CA that it pins.

A credentials directory holds `key.pem` (PKCS#8, mode 0600), `cert.pem` (leaf, then intermediates) and
`ca.pem` (roots). Files are replaced whole. The private key never leaves the machine.
"""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from blindfold._whole_file import whole_file
from blindfold.secret import SecretBytes
from kms.errors import ConfigError, Unauthenticated
from kms.model.validity import Validity

KEY_FILE = "key.pem"
# The new key waits here until the certificate for it is in place; see `write_credentials`.
NEXT_KEY_FILE = "key.next.pem"
CERTIFICATE_FILE = "cert.pem"
CA_FILE = "ca.pem"

_TENANT = re.compile(r"spiffe://[^/]+/tenant/([^/]+)/.+", re.ASCII)
_END = b"-----END CERTIFICATE-----"

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new private key (PKCS#8 PEM), and the signing request (DER) that enrols its public half."""

    key_pem: SecretBytes
    csr: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Credentials:
    """A key and its certificate, which belong together. `ca_pem` are the roots to verify servers with.

    `spiffe_id` is "" for a certificate of another authority that gives no such ids.
    """

    key_pem: SecretBytes
    certificate_pem: bytes
    ca_pem: bytes
    spiffe_id: str
    validity: Validity

    @property
    def tenant(self) -> str:
        """The tenant that the identity belongs to; "" where its SPIFFE id tells none."""
        match = _TENANT.fullmatch(self.spiffe_id)
        return match[1] if match else ""

    @property
    def root_fingerprints(self) -> frozenset[bytes]:
        """SHA-256 of each root, in DER."""
        return frozenset(root.fingerprint(hashes.SHA256()) for root in _load_certificates(self.ca_pem))

    @property
    def leaf_pem(self) -> bytes:
        """The certificate of the key alone, without the intermediates that follow it."""
        leaf, end, _ = self.certificate_pem.partition(_END)
        return leaf + end + b"\n"


def generate_key_pair() -> KeyPair:
    """A P-256 key, and a request that names nothing: the authority knows what to write."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(SecretBytes(pem), csr.public_bytes(Encoding.DER))


def pinned_root(presented_pem: bytes, ca_fingerprint: bytes) -> bytes:
    """The root CA, as PEM, of that fingerprint (SHA-256 of its DER), out of what a server presented.

    The result goes into the TLS configuration that enrolment then uses, which verifies the server under it:
    nothing may be sent on the connection that presented the certificates. Raises `Unauthenticated`.
    """
    for certificate in _load_certificates(presented_pem):
        der = certificate.public_bytes(Encoding.DER)
        if hashlib.sha256(der).digest() == ca_fingerprint:
            return certificate.public_bytes(Encoding.PEM)
    raise Unauthenticated("the server is not of the authority that was named: do not send it the token")


def parse_credentials(key_pem: SecretBytes, certificate_pem: bytes, ca_pem: bytes) -> Credentials:
    """Credentials of one key. Raises `ConfigError`, also if key and certificate do not belong together."""
    chain, roots = _load_certificates(certificate_pem), _load_certificates(ca_pem)
    if not chain or not roots:
        raise ConfigError(f"{CERTIFICATE_FILE} or {CA_FILE} holds no certificate")
    leaf = chain[0]
    if _public_key(key_pem) != leaf.public_key():
        raise ConfigError("the key and the certificate do not belong together")
    validity = Validity(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    return Credentials(key_pem, certificate_pem, ca_pem, _spiffe_id(leaf), validity)


def write_credentials(directory: Path, credentials: Credentials) -> None:
    """Replace the directory's credentials, making it (mode 0700) if it is not there.

    Three files are not replaced in one step, so the order is: the new key beside the old, the roots, the
    certificate, then the key into its place. Whenever it is cut off, one of the two keys fits the
    certificate, and `read_credentials` takes that one. Raises `OSError`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(directory / NEXT_KEY_FILE, credentials.key_pem.reveal(), 0o600)
    _replace(directory / CA_FILE, credentials.ca_pem, 0o644)
    _replace(directory / CERTIFICATE_FILE, credentials.certificate_pem, 0o644)
    (directory / NEXT_KEY_FILE).replace(directory / KEY_FILE)
    _sync(directory)


def read_credentials(directory: Path) -> Credentials:
    """Raises `ConfigError`, saying which file is missing, unreadable or open to others."""
    try:
        return _read_once(directory)
    except ConfigError:
        # A writer may have replaced the certificate between our two reads; then it has ended by now.
        pass
    return _read_once(directory)


def _read_once(directory: Path) -> Credentials:
    certificate_pem = _read(directory / CERTIFICATE_FILE)
    ca_pem = _read(directory / CA_FILE)
    keys = [directory / name for name in (KEY_FILE, NEXT_KEY_FILE)]
    refusal = ConfigError(f"{directory / KEY_FILE} is missing; enrol first")
    for path in keys:
        if path.exists():
            try:
                return parse_credentials(_read_key(path), certificate_pem, ca_pem)
            except ConfigError as error:
                refusal = ConfigError(f"{directory}: {error.message}")
    raise refusal


class CredentialsDirectory:
    """Credentials for a long-running client: read again when the files have changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: _Stamp = ()
        self._credentials: Credentials | None = None

    def current(self) -> Credentials:
        """The credentials now in the directory; the same object until the files change.

        Raises `ConfigError`.
        """
        stamp = self._read_stamp()
        if self._credentials is None or stamp != self._stamp:
            self._credentials = read_credentials(self.path)
            self._stamp = stamp
        return self._credentials

    def renewal_due(self, now: datetime) -> bool:
        """Whether two thirds of the certificate's life are over."""
        return self.current().validity.renewal_due(now)

    def _read_stamp(self) -> _Stamp:
        found = []
        for name in (KEY_FILE, CERTIFICATE_FILE, CA_FILE):
            try:
                status = (self.path / name).stat()
            except OSError:
                continue
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)


def _load_certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _public_key(key_pem: SecretBytes) -> object:
    try:
        return load_pem_private_key(key_pem.reveal(), password=None).public_key()
    except (ValueError, TypeError):
        return None


def _spiffe_id(leaf: x509.Certificate) -> str:
    """ "" where the authority gives no SPIFFE ids. Raises `ConfigError` for two of them."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return ""
    ids = [uri for uri in uris if uri.startswith("spiffe://")]
    if len(ids) > 1:
        raise ConfigError("the certificate names more than one identity")
    return "".join(ids)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
    raise ConfigError(f"{path}: {reason}; enrol first")


def _read_key(path: Path) -> SecretBytes:
    """Raises `ConfigError` for a key that others may read, as ssh does."""
    try:
        with path.open("rb") as file:
            is_open = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
            key = SecretBytes(file.read())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}") from None
    if is_open:
        raise ConfigError(f"{path} can be read by others; run chmod 600 on it, or enrol again if it was read")
    return key


def _replace(path: Path, content: bytes, mode: int) -> None:
    with whole_file(path, mode) as file:
        file.write(content)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = [
    "Credentials",
    "CredentialsDirectory",
    "KeyPair",
    "generate_key_pair",
    "parse_credentials",
    "pinned_root",
    "read_credentials",
    "write_credentials",
]
