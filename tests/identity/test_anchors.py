"""Whom an authority may name, and which authorities are believed at the time of a call."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from forging import URI, names
from presenting import authenticator

from kms.errors import Unauthenticated
from kms.identity.authority import CertificateAuthority, create_intermediate, create_root
from kms.identity.certificates import Authenticator
from kms.identity.extension import ATTRIBUTES_OID, Attributes, encode_attributes
from kms.identity.revocation import DenyList
from kms.identity.trust import AnchorPolicy, TrustAnchor, TrustBundle, authority_id, key_digest

SECOND = timedelta(seconds=1)


def corporate(now: datetime, policy: AnchorPolicy) -> tuple[CertificateAuthority, TrustAnchor]:
    root = create_root("corp.example", now - SECOND)
    below = create_intermediate(root, now - SECOND)
    return below, TrustAnchor(TrustBundle((root.certificate,), (below.certificate,)), policy)


def test_an_anchor_without_attributes_may_not_grant_roles(
    forge: Callable[..., bytes], anchor: TrustAnchor, now: datetime
) -> None:
    signer, other = corporate(now, AnchorPolicy("kms.example", tenant="acme", attributes=False))
    attributes = x509.UnrecognizedExtension(
        ATTRIBUTES_OID, encode_attributes(Attributes(roles=frozenset({"tenant-admin"})))
    )
    known = authenticator(anchor, other)
    with pytest.raises(Unauthenticated, match="may not grant labels and roles"):
        known.authenticate(forge(issuer=signer, replace=[(attributes, False)]), "::1", now)
    assert known.authenticate(forge(issuer=signer), "::1", now).roles == frozenset()


@pytest.mark.parametrize("path", ["/tenant/other/ns/prod/sa/web", "/tenant/other/site/a", "/operator/alice"])
def test_an_anchor_of_a_tenant_names_nobody_outside_it(
    forge: Callable[..., bytes], now: datetime, path: str
) -> None:
    signer, other = corporate(now, AnchorPolicy("kms.example", tenant="acme"))
    certificate = forge(issuer=signer, replace=[(names("spiffe://kms.example" + path), True)])
    with pytest.raises(Unauthenticated, match="only name identities of the tenant acme"):
        authenticator(other).authenticate(certificate, "::1", now)


def test_two_tenants_may_trust_one_corporate_authority(forge: Callable[..., bytes], now: datetime) -> None:
    signer, one = corporate(now, AnchorPolicy("kms.example", tenant="acme"))
    two = TrustAnchor(one.bundle, AnchorPolicy("kms.example", tenant="beta"))
    certificate = forge(issuer=signer, replace=[(names(URI.replace("acme", "beta")), True)])
    assert authenticator(one, two).authenticate(certificate, "::1", now).tenant == "beta"


def test_during_a_rotation_both_authorities_are_believed(
    forge: Callable[..., bytes], leaf: bytes, anchor: TrustAnchor, now: datetime
) -> None:
    new_root = create_root("kms.example", now - SECOND)
    new = create_intermediate(new_root, now - SECOND)
    bundle = TrustBundle(
        (*anchor.bundle.roots, new_root.certificate), (*anchor.bundle.intermediates, new.certificate)
    )
    both = authenticator(TrustAnchor(bundle, anchor.policy))
    assert both.authenticate(leaf, "::1", now).spiffe_id == URI
    assert both.authenticate(forge(issuer=new), "::1", now).spiffe_id == URI
    with pytest.raises(Unauthenticated, match="no authority"):
        authenticator(anchor).authenticate(forge(issuer=new), "::1", now)


def test_a_root_certifies_no_identities(
    root: CertificateAuthority, forge: Callable[..., bytes], anchor: TrustAnchor, now: datetime
) -> None:
    with pytest.raises(Unauthenticated, match="no authority"):
        authenticator(anchor).authenticate(forge(issuer=root), "::1", now)


def test_what_is_trusted_no_more_is_refused_although_it_was_verified(
    leaf: bytes, anchor: TrustAnchor, now: datetime
) -> None:
    trusted = [(anchor,)]
    known = Authenticator(lambda: trusted[-1], lambda _tenant: DenyList())
    assert known.authenticate(leaf, "::1", now).spiffe_id == URI
    new = create_root("kms.example", now - SECOND)
    below = create_intermediate(new, now - SECOND)
    trusted.append((TrustAnchor(TrustBundle((new.certificate,), (below.certificate,)), anchor.policy),))
    with pytest.raises(Unauthenticated, match="no authority"):
        known.authenticate(leaf, "::1", now)


def test_a_caller_is_known_with_the_authority_that_certified_him(
    leaf: bytes, authority: CertificateAuthority, anchor: TrustAnchor, now: datetime
) -> None:
    caller = authenticator(anchor).authenticate(leaf, "::1", now)
    assert caller.authority == authority_id(key_digest(authority.certificate))


def test_no_anchor_means_nobody(leaf: bytes, now: datetime) -> None:
    with pytest.raises(Unauthenticated, match="no authority"):
        authenticator().authenticate(leaf, "::1", now)
