"""Tokens of other issuers: which keys are believed, and what a token must say."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from token_workshop import AUDIENCE, NOW, URL, claims, jwk, jwks, private_key, token

from blindfold.secret import SecretBytes
from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.web_tokens import (
    ALGORITHMS,
    MAX_JWKS,
    REFUSED,
    Expected,
    key_id_of,
    parse_jwks,
    verify_token,
)

EXPECTED = Expected(URL, AUDIENCE, ALGORITHMS)
SECOND = timedelta(seconds=1)
KEYS = parse_jwks(jwks(*(jwk(kind) for kind in ALGORITHMS)))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(made: SecretBytes, expected: Expected = EXPECTED, now: Any = NOW) -> Any:
    return verify_token(made, KEYS, expected, now)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_token_of_every_algorithm_is_verified(kind: str) -> None:
    verified = verify(token(kind=kind))
    assert verified.claims["sub"] == "system:serviceaccount:prod:web"
    assert verified.expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_algorithm_that_is_not_configured_is_refused(kind: str) -> None:
    others = [name for name in ALGORITHMS if name != kind]
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify(token(kind=kind), Expected(URL, AUDIENCE, others))


def test_an_rsa_key_of_one_algorithm_verifies_no_other() -> None:
    keys = parse_jwks(jwks(jwk("RS256", alg="RS256")))
    verify_token(token(), keys, EXPECTED, NOW)
    signed = jwt.encode(claims(), private_key("RS256"), "PS256", {"kid": "RS256"})
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify_token(SecretBytes(signed.encode()), keys, EXPECTED, NOW)


def unsigned(alg: str) -> SecretBytes:
    head = b64(json.dumps({"alg": alg, "kid": "RS256"}).encode())
    return SecretBytes(f"{head}.{b64(json.dumps(claims()).encode())}.".encode())


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
def test_unsigned_token_is_refused(alg: str) -> None:
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify(unsigned(alg))


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_public_key_is_no_secret_of_an_hmac(alg: str) -> None:
    """The attack on verifiers that let the token choose: the public key, as anybody has it, signs."""
    public = private_key("RS256").public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = b64(json.dumps({"alg": alg, "kid": "RS256"}).encode())
    signed = f"{head}.{b64(json.dumps(claims()).encode())}"
    tag = hmac.digest(secret, signed.encode(), f"sha{alg[2:]}")
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify(SecretBytes(f"{signed}.{b64(tag)}".encode()))


def test_token_by_another_key_is_refused() -> None:
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify(token(headers={"kid": "PS256"}))
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify(token(headers={"kid": "unknown"}))


@pytest.mark.parametrize("headers", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"b64": True}])
def test_extensions_of_the_header_are_refused(headers: dict[str, Any]) -> None:
    head = b64(json.dumps({"alg": "EdDSA", "kid": "EdDSA", **headers}).encode())
    signed = f"{head}.{b64(json.dumps(claims()).encode())}".encode()
    signature = b64(private_key("EdDSA").sign(signed)).encode()
    with pytest.raises(Unauthenticated):
        verify(SecretBytes(signed + b"." + signature))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": URL + "/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"iss": [URL]}, "another issuer"),
        ({"aud": "vault"}, "another audience"),
        ({"aud": ["vault", "kms"]}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"aud": AUDIENCE.upper()}, "another audience"),
        ({"exp": None}, "no usable exp"),
        ({"iat": None}, "no usable iat"),
        ({"exp": "1772370000"}, "no usable exp"),
        ({"exp": True}, "no usable exp"),
        ({"exp": 1e300}, "no usable exp"),
        ({"exp": 10**400}, "no usable exp"),
        ({"exp": float("nan")}, "no usable exp"),
        ({"exp": float("inf")}, "no usable exp"),
        ({"nbf": "soon"}, "no usable nbf"),
        ({"exp": claims()["iat"] + 86401}, "more than 24 hours"),
    ],
)
def test_token_with_a_wrong_claim_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(Unauthenticated, match=words):
        verify(token(claims(**changed), "EdDSA"))


def test_audience_may_be_one_text_or_one_of_several() -> None:
    for audience in (AUDIENCE, ["vault", AUDIENCE]):
        assert verify(token(claims(aud=audience), "EdDSA"))


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (-60 * SECOND, ""),
        (-61 * SECOND, "not valid yet"),
        (timedelta(hours=1) - SECOND, ""),
        (timedelta(hours=1), "expired"),
    ],
)
def test_clocks_may_differ_by_a_minute_at_the_beginning_and_not_at_the_end(
    passed: timedelta, words: str
) -> None:
    made = token(kind="EdDSA")
    if words:
        with pytest.raises(Unauthenticated, match=words):
            verify(made, now=NOW + passed)
    else:
        assert verify(made, now=NOW + passed)


def test_the_later_of_issuance_and_not_before_counts() -> None:
    late = token(claims(nbf=claims()["iat"] + 600), "EdDSA")
    with pytest.raises(Unauthenticated, match="not valid yet"):
        verify(late)
    assert verify(late, now=NOW + timedelta(minutes=9))
    with pytest.raises(Unauthenticated, match="not valid yet"):
        verify(token(claims(iat=claims()["iat"] + 600, nbf=claims()["iat"]), "EdDSA"))


def test_digest_is_of_what_was_signed_and_not_of_the_signature() -> None:
    """Of an ECDSA signature anybody can make a second one."""
    made = token(kind="ES256").reveal()
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = made.rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"==")
    other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = SecretBytes(signed + b"." + b64(other).encode())
    first, second = verify(SecretBytes(made)), verify(twin)
    assert first.digests == second.digests
    assert first.digests[0] == hashlib.sha256(signed).hexdigest()


def test_token_is_told_by_its_id_too_whatever_else_it_says() -> None:
    first, again = (verify(token(claims(jti="one", **more), "EdDSA")) for more in ({}, {"nonce": "n"}))
    assert first.digests[0] != again.digests[0]
    assert first.digests[1] == again.digests[1] == hashlib.sha256(b"\x00one").hexdigest()
    assert len(verify(token(claims(jti=None), "EdDSA")).digests) == 1


@pytest.mark.parametrize("jti", [5, ["one"], {"id": "one"}, True])
def test_an_id_is_a_text(jti: Any) -> None:
    with pytest.raises(Unauthenticated, match="jti is no text"):
        verify(token(claims(jti=jti), "EdDSA"))


@pytest.mark.parametrize(
    "text", [b"", b".", b"a.b", b"a.b.c", b"..", b"e30.e30.", b"x" * 20_000, b"\xff.\xff.\xff"]
)
def test_what_is_no_token_is_refused(text: bytes) -> None:
    with pytest.raises(Unauthenticated):
        verify(SecretBytes(text))


def test_payload_that_is_no_object_is_refused() -> None:
    signed = f"{b64(json.dumps({'alg': 'EdDSA', 'kid': 'EdDSA'}).encode())}.{b64(b'[' * 9000)}".encode()
    signature = b64(private_key("EdDSA").sign(signed)).encode()
    with pytest.raises(Unauthenticated, match=REFUSED):
        verify(SecretBytes(signed + b"." + signature))


@given(st.binary(max_size=200))
def test_random_bytes_raise_the_typed_error(data: bytes) -> None:
    with pytest.raises(Unauthenticated):
        verify(SecretBytes(data))
    with pytest.raises(InvalidField):
        parse_jwks(data)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 5))
def test_token_with_one_signed_bit_flipped_is_refused(position: int, bit: int) -> None:
    signed, _, signature = token(kind="EdDSA").reveal().rpartition(b".")
    changed = bytearray(signed)
    changed[position % len(signed)] ^= 1 << bit
    with pytest.raises(Unauthenticated):
        verify(SecretBytes(bytes(changed) + b"." + signature))


def test_token_names_its_key() -> None:
    assert key_id_of(token(headers={"kid": "a key"})) == "a key"
    for headers in ({"kid": ""}, {"kid": "x" * 257}):
        with pytest.raises(Unauthenticated, match="names its key"):
            key_id_of(token(headers=headers))


@pytest.mark.filterwarnings("ignore:The RSA key is")
@pytest.mark.parametrize(
    "unusable",
    [
        jwk("short"),
        jwk("exponent"),
        jwk("ES384"),
        jwk("RS256", use="enc"),
        {"kid": "oct", "kty": "oct"},
        {"kid": "okp", "kty": "OKP", "crv": "Ed25519"},
        jwk("RS256", key_ops=["encrypt"]),
        jwk("RS256", key_ops=1),
        jwk("RS256", alg="RS512"),
        jwk("RS256", alg=["RS256"]),
        jwk("RS256", kid=None),
        jwk("RS256", kid=5),
        jwk("RS256", kid="x" * 257),
        jwk("RS256", n="AA"),
        jwk("EdDSA", crv="Ed448"),
        jwk("EdDSA", x=""),
        jwk("ES256", x="AA"),
        {"kid": "x", "kty": "unheard-of"},
        {},
    ],
    ids=lambda unusable: " ".join(unusable),
)
def test_key_that_is_not_for_this_is_passed_over(unusable: dict[str, Any]) -> None:
    assert parse_jwks(jwks(unusable, jwk("EdDSA", "usable"))).keys() == {"usable"}
    with pytest.raises(InvalidField, match="no key with an id"):
        parse_jwks(jwks(unusable))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"[" * 5000, "not a JSON object"),
        (b"{}", "not a JSON Web Key Set"),
        (b'{"keys":{}}', "not a JSON Web Key Set"),
        (b'{"keys":[1]}', "not a JSON Web Key Set"),
        (b'{"keys":[]}', "no key with an id"),
        (jwks(jwk("EdDSA"), jwk("ES256", "EdDSA")), "two keys of one id"),
        (jwks(jwk("EdDSA", d="AA")), "private or secret"),
        (jwks({"kty": "oct", "kid": "x", "k": "AA"}), "private or secret"),
    ],
)
def test_bad_key_set_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidField, match=words):
        parse_jwks(data)


def test_key_sets_have_limits() -> None:
    with pytest.raises(LimitExceeded, match="bytes"):
        parse_jwks(bytes(MAX_JWKS + 1))
    with pytest.raises(LimitExceeded, match="101 keys"):
        parse_jwks(jwks(*[{}] * 101))
