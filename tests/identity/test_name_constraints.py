"""An authority that may name some hosts only, and what its certificates may then say."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from forging import URI, names

from kms.errors import Unauthenticated
from kms.identity.authority import CertificateAuthority
from kms.identity.certificates import load_certificate, verify_leaf
from kms.identity.trust import AnchorPolicy, TrustAnchor, TrustBundle

HOSTS = x509.NameConstraints([x509.DNSName("acme.example")], [x509.DNSName("secret.acme.example")])
URIS = x509.NameConstraints([x509.UniformResourceIdentifier("kms.example")], None)
OTHER_URIS = x509.NameConstraints(None, [x509.UniformResourceIdentifier("other.example")])
DIRECTORY = x509.NameConstraints(
    [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Acme")]))], None
)


def constrained(
    root: CertificateAuthority,
    like: x509.Certificate,
    constraints: x509.NameConstraints,
    *,
    critical: bool = True,
) -> CertificateAuthority:
    """An intermediate as `like`, with name constraints and a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        like.issuer, like.subject, key.public_key(), 4712, like.not_valid_before_utc, like.not_valid_after_utc
    )
    for extension in like.extensions:
        own = isinstance(extension.value, x509.SubjectKeyIdentifier)
        value = x509.SubjectKeyIdentifier.from_public_key(key.public_key()) if own else extension.value
        builder = builder.add_extension(value, extension.critical)
    builder = builder.add_extension(constraints, critical=critical)
    return CertificateAuthority(builder.sign(root.key, hashes.SHA256()), key)


@pytest.mark.parametrize(
    ("constraints", "dns_names", "admitted"),
    [
        (HOSTS, ("web.acme.example",), True),
        (HOSTS, (), True),
        (HOSTS, ("web.other.example",), False),
        (HOSTS, ("web.acme.example", "web.other.example"), False),
        (HOSTS, ("acme.example.other.example",), False),
        (HOSTS, ("x.secret.acme.example",), False),
        # The verifier cannot judge these, so it refuses even what they permit.
        (URIS, (), False),
        (OTHER_URIS, (), False),
        (DIRECTORY, (), False),
    ],
)
def test_name_constraints_of_the_authority_bind_its_leaves(
    root: CertificateAuthority,
    authority: CertificateAuthority,
    forge: Callable[..., bytes],
    now: datetime,
    constraints: x509.NameConstraints,
    dns_names: tuple[str, ...],
    admitted: bool,
) -> None:
    signer = constrained(root, authority.certificate, constraints)
    leaf = load_certificate(forge(issuer=signer, replace=[(names(URI, *dns_names), True)]))
    bundle = TrustBundle((root.certificate,), (signer.certificate,))
    anchors = [TrustAnchor(bundle, AnchorPolicy("kms.example"))]
    if admitted:
        assert verify_leaf(leaf, anchors, now).dns_names == dns_names
    else:
        with pytest.raises(Unauthenticated, match="no authority this KMS trusts"):
            verify_leaf(leaf, anchors, now)


@pytest.mark.parametrize(("constraints", "looked_at"), [(HOSTS, True), (URIS, True), (DIRECTORY, False)])
def test_constraints_that_are_not_critical(
    root: CertificateAuthority,
    authority: CertificateAuthority,
    forge: Callable[..., bytes],
    now: datetime,
    constraints: x509.NameConstraints,
    looked_at: bool,
) -> None:
    signer = constrained(root, authority.certificate, constraints, critical=False)
    leaf = load_certificate(forge(issuer=signer, replace=[(names(URI, "web.other.example"), True)]))
    anchor = TrustAnchor(TrustBundle((root.certificate,), (signer.certificate,)), AnchorPolicy("kms.example"))
    with pytest.raises(Unauthenticated) if looked_at else nullcontext():
        verify_leaf(leaf, [anchor], now)
