"""Renewal: a new certificate for the holder of one that still holds."""

from datetime import datetime, timedelta

from cryptography import x509

from kms.errors import Unauthenticated
from kms.identity.authority import CertificateAuthority
from kms.identity.certificates import Leaf
from kms.identity.csr import PublicKey
from kms.identity.grant import Grant
from kms.identity.revocation import DenyList


def renew(
    authority: CertificateAuthority,
    leaf: Leaf,
    grant: Grant,
    public_key: PublicKey,
    ttl: timedelta,
    now: datetime,
    deny_list: DenyList,
) -> x509.Certificate:
    """A certificate for the identity of `leaf`, with the names, labels and roles its record has now.

    `leaf` is what the authenticator returned for this call; `grant` the identity's current record. Time
    and revocation are asked again here, so that this step is safe by itself. Raises `Unauthenticated`.
    """
    leaf.validity.check(now)
    deny_list.check(leaf.serial, str(leaf.spiffe_id), leaf.validity.not_before)
    if leaf.spiffe_id.trust_domain != authority.trust_domain or leaf.spiffe_id.identity != grant.identity:
        raise Unauthenticated("a certificate is renewed for the identity it names, and no other")
    return authority.issue(public_key, grant, ttl, now)
