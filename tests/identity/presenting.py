"""Certificates as they are presented, and who looks at them."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kms.identity.certificates import Authenticator
from kms.identity.revocation import DenyList
from kms.identity.trust import TrustAnchor


def authenticator(*anchors: TrustAnchor, deny_list: DenyList | None = None) -> Authenticator:
    return Authenticator(lambda: anchors, lambda _tenant: deny_list or DenyList())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
