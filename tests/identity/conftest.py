"""A real authority, and a way to have it sign what it would never sign by itself."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from forging import NOW, URI, key_usage, names
from presenting import pem

from kms.identity.authority import CertificateAuthority, create_intermediate, create_root
from kms.identity.grant import Grant
from kms.identity.trust import AnchorPolicy, TrustAnchor, TrustBundle
from kms.model.names import IdentityName

Forge = Callable[..., bytes]


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def root() -> CertificateAuthority:
    return create_root("kms.example", NOW - timedelta(days=1))


@pytest.fixture(scope="session")
def authority(root: CertificateAuthority) -> CertificateAuthority:
    return create_intermediate(root, NOW - timedelta(days=1))


@pytest.fixture(scope="session")
def anchor(root: CertificateAuthority, authority: CertificateAuthority) -> TrustAnchor:
    bundle = TrustBundle((root.certificate,), (authority.certificate,))
    return TrustAnchor(bundle, AnchorPolicy("kms.example"))


@pytest.fixture(scope="session")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def grant() -> Grant:
    return Grant(
        IdentityName("acme", "prod", "web"),
        ("web.acme.example",),
        {"app": "web", "tier": "front"},
        frozenset({"key-user@prod", "secret-sealer"}),
    )


@pytest.fixture(scope="session")
def forge(authority: CertificateAuthority, key: ec.EllipticCurvePrivateKey) -> Forge:
    """Signs a proper leaf with some extensions replaced, left out, or added. Returns its PEM."""

    def make(
        *,
        replace: Sequence[tuple[x509.ExtensionType, bool]] = (),
        without: Sequence[type[x509.ExtensionType]] = (),
        issuer: CertificateAuthority = authority,
        start: datetime = NOW,
        life: timedelta = timedelta(hours=1),
    ) -> bytes:
        proper: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
            (names(URI), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False),
        ]
        gone = (*without, *(type(value) for value, _ in replace))
        extensions: list[Any] = [item for item in proper if not isinstance(item[0], gone)] + list(replace)
        builder = x509.CertificateBuilder(
            issuer.certificate.subject, x509.Name([]), key.public_key(), 4711, start, start + life
        )
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    return make


@pytest.fixture
def leaf(
    authority: CertificateAuthority, grant: Grant, key: ec.EllipticCurvePrivateKey, now: datetime
) -> bytes:
    """For an hour, in PEM."""
    return pem(authority.issue(key.public_key(), grant, timedelta(hours=1), now))
