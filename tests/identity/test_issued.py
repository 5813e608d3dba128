"""What is handed out with a certificate: its chain, and the roots to trust."""

from datetime import datetime, timedelta

import pytest

from kms.client.credentials import generate_key_pair
from kms.identity.authority import certify_authority, create_intermediate, create_root
from kms.identity.ca_profile import ENDORSED_ROOT, ROOT
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.identity.issued import IssuedCertificate, Issuer
from kms.identity.trust import TrustBundle, authority_id, fingerprint, key_digest, load_authorities

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("left", "is_shown"), [(2 * DAY, True), (DAY, True), (DAY - timedelta(seconds=1), False)]
)
def test_endorsement_of_a_root_is_in_the_chain_if_it_holds_as_long_as_the_leaf(
    left: timedelta, is_shown: bool, grant: Grant, now: datetime
) -> None:
    old, new = create_root("kms.example", now + left - ROOT.life), create_root("kms.example", now)
    endorsement = certify_authority(old, ENDORSED_ROOT, new.key.public_key(), now)
    authority = create_intermediate(new, now)
    issuer = Issuer(authority, TrustBundle((new.certificate, old.certificate)), (endorsement,))
    issued = issuer.issue(verify_csr(generate_key_pair().csr), grant, now)
    chain = load_authorities(issued.chain_pem.decode())
    assert chain[1:] == (authority.certificate, *((endorsement,) if is_shown else ()))
    assert load_authorities(issued.trust_bundle_pem.decode()) == (new.certificate, old.certificate)


def test_its_own_root_is_the_one_that_join_tokens_pin(now: datetime) -> None:
    new, old = create_root("kms.example", now), create_root("kms.example", now)
    issuer = Issuer(create_intermediate(new, now), TrustBundle((new.certificate, old.certificate)))
    assert issuer.root_fingerprint == fingerprint(new.certificate)


def test_what_is_remembered_of_a_certificate_survives_storage(grant: Grant, now: datetime) -> None:
    root = create_root("kms.example", now)
    authority = create_intermediate(root, now)
    issuer = Issuer(authority, TrustBundle((root.certificate,)))
    issued = issuer.issue(verify_csr(generate_key_pair().csr), grant, now).issued
    assert IssuedCertificate.parse(issued.to_text()) == issued
    assert issued.authority == authority_id(key_digest(authority.certificate))
