"""What strangers and tenants hand in about who somebody is: certificates, tokens, keys, what proxies say.

Where nothing is printed again, what is accepted has to be something that was signed, or has to be read alike
once more.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from blindfold.secret import SecretBytes
from fuzz.target import PropertyBroken, Target, vectors
from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.admission import Admission
from kms.identity.authority import CertificateAuthority, create_intermediate, create_root
from kms.identity.certificates import load_certificate, verify_leaf
from kms.identity.corporate import DEFAULT_KEY_TYPES, CorporateAuthority, mark, parse_bundle
from kms.identity.csr import verify_csr
from kms.identity.extension import decode_attributes, encode_attributes
from kms.identity.grant import Grant
from kms.identity.rotation import accept_root, endorse_root, prepare_intermediate, requested_key_sha256
from kms.identity.trust import AnchorPolicy, TrustAnchor, TrustBundle
from kms.identity.web_tokens import ALGORITHMS, Expected, VerifiedToken, key_id_of, parse_jwks, verify_token
from kms.model.join_token import JoinToken
from kms.model.names import IdentityName, TrustedAuthorityName
from kms.server.forwarded import ENVOY_HEADER, client_address, forwarded_certificate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOMAIN = "kms.example"
NGINX_HEADER = "x-client-cert"
SECRET_SET = b'{"keys":[{"kty":"oct","k":"AA"}]}'
EXPECTED = Expected("https://oidc.example", "kms", ALGORITHMS)


@cache
def root() -> CertificateAuthority:
    return create_root(DOMAIN, NOW)


@cache
def authority() -> CertificateAuthority:
    return create_intermediate(root(), NOW)


@cache
def anchors() -> list[TrustAnchor]:
    bundle = TrustBundle((root().certificate,), (authority().certificate,))
    return [TrustAnchor(bundle, AnchorPolicy(DOMAIN))]


@cache
def leaf() -> x509.Certificate:
    grant = Grant(
        IdentityName("acme", "prod", "web"), ("web.example",), {"app": "web"}, frozenset({"auditor"})
    )
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return authority().issue(key, grant, timedelta(hours=1), NOW)


@cache
def corporate() -> tuple[CorporateAuthority, bytes]:
    """A company's authority, and a leaf of it in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _company_s(key, "Root", key, x509.BasicConstraints(ca=True, path_length=None))
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    below = ec.generate_private_key(ec.SECP256R1())
    name = TrustedAuthorityName("acme", "corp")
    admission = Admission(("*",), {}, "prod", "/subject/CN", {}, frozenset())
    trusted = CorporateAuthority(name, DOMAIN, TrustBundle((certificate,)), DEFAULT_KEY_TYPES, admission)
    return trusted, _company_s(below, "web", key, usage).public_bytes(Encoding.DER)


def _company_s(key: Any, name: str, issuer_key: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
    subject, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, "Root")
    )
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), 5, NOW, NOW + timedelta(days=365))
    for value in (
        *extensions,
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
    ):
        builder = builder.add_extension(value, isinstance(value, x509.BasicConstraints))
    if name == "Root":
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False
        ) | dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), True)
    return builder.sign(issuer_key, hashes.SHA256())


def reprint_leaf(data: bytes) -> bytes:
    """Only what the authority signed is accepted."""
    verify_leaf(load_certificate(data), anchors(), NOW)
    return _signed(data, leaf())


def reprint_corporate_leaf(data: bytes) -> bytes:
    trusted, der = corporate()
    trusted.verify(load_certificate(data), NOW)
    return _signed(data, x509.load_der_x509_certificate(der))


def _signed(data: bytes, certificate: x509.Certificate) -> bytes:
    if load_certificate(data).tbs_certificate_bytes != certificate.tbs_certificate_bytes:
        raise PropertyBroken(f"{data!r} was accepted, and not signed")
    return data


def reprint_authorities(data: bytes) -> bytes:
    """A tenant's authorities, one in DER: what is stored is what was handed in."""
    pem = _pem("CERTIFICATE", data)
    bundle = parse_bundle(pem)
    for item in (*bundle.roots, *bundle.intermediates):
        mark(item)
    if parse_bundle(bundle.to_pem()) != bundle:
        raise PropertyBroken(f"{data!r} is stored as something else")
    return data


def reprint_root(data: bytes) -> bytes:
    """A root in DER, brought with the endorsement of another: only that other one is taken."""
    endorsed = TrustBundle.parse(endorsed_root())
    endorsement = endorsed.intermediates[0].public_bytes(Encoding.PEM)
    new, _ = accept_root(_pem("CERTIFICATE", data) + endorsement, [root().certificate], DOMAIN, NOW)
    return new.public_bytes(Encoding.DER)


@cache
def endorsed_root() -> bytes:
    return endorse_root(root(), create_root(DOMAIN, NOW).certificate_pem(), NOW)


def reprint_csr(data: bytes) -> bytes:
    verify_csr(data)
    requested_key_sha256(data)
    return data


def _pem(kind: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).decode().replace("\n", "")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]).encode()


@cache
def token_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@cache
def key_set() -> bytes:
    made = [
        jwt.algorithms.OKPAlgorithm.to_jwk(token_key().public_key(), as_dict=True) | {"kid": "one"},
        jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
        | {"kid": "two", "alg": "ES256", "use": "sig"},
    ]
    return json.dumps({"keys": made}).encode()


@cache
def tokens() -> list[bytes]:
    start = int(NOW.timestamp())
    claims = {
        "iss": EXPECTED.issuer,
        "aud": [EXPECTED.audience],
        "sub": "web",
        "iat": start,
        "exp": start + 3600,
        "jti": "5b9a4d3c",
    }
    made = (claims, claims | {"aud": "kms", "nbf": start}, claims | {"exp": start - 1})
    return [jwt.encode(item, token_key(), "EdDSA", {"kid": "one"}).encode() for item in made]


def reprint_token(data: bytes) -> bytes:
    """Only what the issuer signed is verified, and told apart by that alone."""
    token = SecretBytes(data)
    key_id_of(token)
    verified: VerifiedToken = verify_token(token, parse_jwks(key_set()), EXPECTED, NOW)
    known = [verify_token(SecretBytes(item), parse_jwks(key_set()), EXPECTED, NOW) for item in tokens()[:2]]
    if (verified.digests, verified.claims) not in [(item.digests, item.claims) for item in known]:
        raise PropertyBroken(f"{data!r} was accepted, and not signed")
    return data


def reprint_jwks(data: bytes) -> bytes:
    for key_id, key in parse_jwks(data).items():
        if not key_id or not key.algorithms <= set(ALGORITHMS):
            raise PropertyBroken(f"{data!r} gives a key that verifies something else")
    return data


def reprint_forwarded(header: str, data: bytes) -> bytes:
    """Bytes of a header, as text: what is taken for the certificate stands there, once and escaped."""
    text = data.decode("latin-1")
    pem = forwarded_certificate([(header, text)], header).decode()
    if pem.count("-----BEGIN") != 1 or "CERTIFICATE" not in text:
        raise PropertyBroken(f"{data!r} was read as {pem!r}")
    return data


def reprint_addresses(data: bytes) -> bytes:
    address = client_address([("x-forwarded-for", data.decode("latin-1"))], ())
    if not address:
        raise Unauthenticated("no address")
    return data


def forwarded_seeds(header: str) -> list[bytes]:
    escaped = quote(leaf().public_bytes(Encoding.PEM).decode(), safe="")
    if header == NGINX_HEADER:
        return [escaped.encode(), b"%2D" + escaped.encode()]
    said = f'By=spiffe://a;Hash=00;Subject="CN=a\\",O=\\"b";URI=spiffe://b;Cert="{escaped}"'
    return [said.encode(), f'Cert="{escaped}"'.encode(), f"Cert={escaped},Cert={escaped}".encode()]


def attribute_seeds() -> list[bytes]:
    return [bytes.fromhex(test["der"]) for test in vectors("attributes.json", "identity")]


def join_token_seeds() -> list[bytes]:
    return [JoinToken(bytes(16), SecretBytes(bytes(32)), bytes(32)).reveal().encode(), b"kjt1_", b"kjt1_AAAA"]


def csr_seeds() -> list[bytes]:
    pem = prepare_intermediate(DOMAIN)[1]
    return [pem, x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)]


def certificate_seeds() -> list[bytes]:
    certificates = (leaf(), authority().certificate, root().certificate)
    return [item.public_bytes(Encoding.DER) for item in certificates]


def root_seeds() -> list[bytes]:
    return [TrustBundle.parse(endorsed_root()).roots[0].public_bytes(Encoding.DER), *certificate_seeds()]


def reprint_join_token(data: bytes) -> bytes:
    return JoinToken.parse(data.decode("latin-1")).reveal().encode("latin-1")


IDENTITY_TARGETS = MappingProxyType(
    {
        "leaf": Target(reprint_leaf, certificate_seeds, Unauthenticated),
        "corporate_leaf": Target(
            reprint_corporate_leaf, lambda: [corporate()[1], *certificate_seeds()], Unauthenticated
        ),
        "corporate_authorities": Target(reprint_authorities, certificate_seeds, InvalidField),
        "identity_root": Target(reprint_root, root_seeds, InvalidField),
        "signing_request": Target(reprint_csr, csr_seeds, InvalidField),
        "attributes": Target(
            lambda data: encode_attributes(decode_attributes(data)),
            attribute_seeds,
            (Unauthenticated, InvalidField, LimitExceeded),
        ),
        "join_token": Target(reprint_join_token, join_token_seeds, InvalidField),
        "web_token": Target(reprint_token, tokens, Unauthenticated),
        "web_key_set": Target(
            reprint_jwks, lambda: [key_set(), b'{"keys":[{"kty":"oct","k":"AA"}]}'], InvalidField
        ),
        "envoy_header": Target(
            partial(reprint_forwarded, ENVOY_HEADER), partial(forwarded_seeds, ENVOY_HEADER), Unauthenticated
        ),
        "nginx_header": Target(
            partial(reprint_forwarded, NGINX_HEADER), partial(forwarded_seeds, NGINX_HEADER), Unauthenticated
        ),
        "forwarded_for": Target(
            reprint_addresses,
            lambda: [b"192.0.2.1, 2001:db8::1,10.0.0.1", b"::ffff:192.0.2.1", b"fe80::1%eth0"],
            Unauthenticated,
        ),
    }
)
