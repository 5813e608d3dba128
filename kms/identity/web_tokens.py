"""JSON Web Tokens of other issuers: signature, addressee, dates (docs/spec/identity.md, "Tokens of issuers").

Who signed, for whom and when; what the claims then mean is `kms.identity.admission`. Pure functions: keys are
given, and that a token is used once is the store's doing, by `VerifiedToken.digests`.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from blindfold.secret import SecretBytes
from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.csr import MAX_RSA_BITS, RSA_EXPONENT
from kms.model.validity import CLOCK_SKEW

MAX_TOKEN = 16 * 1024
MAX_JWKS = 64 * 1024
MAX_KEYS = 100
MAX_KEY_ID = 256
MAX_LIFE = timedelta(hours=24)
MIN_RSA_BITS = 2048
# For a stranger: nothing tells an issuer that is not there from a signature that is not right.
REFUSED = "the token is not one of this issuer that is accepted here"

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Jwks: TypeAlias = Mapping[str, "IssuerKey"]


def _is_rsa(key: object) -> bool:
    return (
        isinstance(key, rsa.RSAPublicKey)
        and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
        and key.public_numbers().e == RSA_EXPONENT
    )


def _is_p256(key: object) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


# Every algorithm that is believed, and the keys that it is for.
_FITS: Mapping[str, Callable[[object], bool]] = MappingProxyType(
    {
        "EdDSA": lambda key: isinstance(key, ed25519.Ed25519PublicKey),
        "ES256": _is_p256,
        "PS256": _is_rsa,
        "RS256": _is_rsa,
    }
)
ALGORITHMS = tuple(_FITS)


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the algorithms that it verifies."""

    key: PublicKey
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say, each to the letter, and the algorithms that may sign it."""

    issuer: str
    audience: str
    algorithms: Collection[str]


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Claims of a token that held when it was looked at. `digests`, in hex, tell it from others.

    They are SHA-256 of what was signed, and of the `jti` if there is one. The signature is in neither: some
    algorithms let anybody make a second one of the same; and an issuer may sign the same claims twice.
    """

    claims: Mapping[str, Any]
    digests: tuple[str, ...]
    expires_at: datetime


def parse_jwks(data: bytes) -> Jwks:
    """The usable keys of a JSON Web Key Set (RFC 7517) by their ids; 64 KiB, 100 keys at most.

    Keys without an id, for other uses, or of kinds that are not believed are passed over. Raises
    `InvalidField` for what is no such set, holds a private key, names an id twice, or leaves no key.
    """
    if len(data) > MAX_JWKS:
        raise LimitExceeded("jwks", f"{len(data)} bytes, at most {MAX_JWKS} are allowed")
    listed = _object(data, "jwks").get("keys")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise InvalidField("jwks", "is not a JSON Web Key Set")
    if len(listed) > MAX_KEYS:
        raise LimitExceeded("jwks", f"{len(listed)} keys, at most {MAX_KEYS} are allowed")
    keys: dict[str, IssuerKey] = {}
    for item in listed:
        if "d" in item or "k" in item:
            raise InvalidField("jwks", "holds a private or secret key: withdraw it")
        key_id, key = item.get("kid"), _key(item)
        if key is None or not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
            continue
        if key_id in keys:
            raise InvalidField("jwks", "has two keys of one id")
        keys[key_id] = key
    if not keys:
        raise InvalidField("jwks", f"has no key with an id for {', '.join(ALGORITHMS)}")
    return MappingProxyType(keys)


def _key(item: dict[str, Any]) -> IssuerKey | None:
    """None for a key that verifies nothing here."""
    if item.get("use", "sig") != "sig" or item.get("key_ops", ["verify"]) != ["verify"]:
        return None
    try:
        key = jwt.PyJWK(item).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        return None
    fitting = {name for name, fits in _FITS.items() if fits(key)}
    algorithms = frozenset(fitting & {item["alg"]} if "alg" in item else fitting)
    return IssuerKey(key, algorithms) if algorithms else None


def key_id_of(token: SecretBytes) -> str:
    """The key that the token claims to be signed with; nothing is verified. Raises `Unauthenticated`."""
    text = token.reveal()
    if len(text) > MAX_TOKEN:
        raise Unauthenticated(f"the token has {len(text)} bytes, at most {MAX_TOKEN} are allowed")
    try:
        key_id = jwt.get_unverified_header(text).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        key_id = None
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
        raise Unauthenticated("this is no JSON Web Token that names its key")
    return key_id


def verify_token(token: SecretBytes, keys: Jwks, expected: Expected, now: datetime) -> VerifiedToken:
    """The claims of a token, of which signature, issuer, audience and dates are verified.

    Raises `Unauthenticated`; with one text up to and with the signature, then saying what is wrong.
    """
    text = token.reveal()
    claims = _claims(text, keys.get(key_id_of(token)), expected.algorithms)
    if claims.get("iss") != expected.issuer:
        raise Unauthenticated("the token is of another issuer")
    audience = claims.get("aud")
    if expected.audience not in ([audience] if isinstance(audience, str) else _texts(audience)):
        raise Unauthenticated("the token is for another audience")
    expires_at = _check_dates(claims, now)
    digests = [text.rpartition(b".")[0], *_id(claims)]
    return VerifiedToken(
        MappingProxyType(claims), tuple(hashlib.sha256(item).hexdigest() for item in digests), expires_at
    )


def _claims(text: bytes, key: IssuerKey | None, allowed: Collection[str]) -> dict[str, Any]:
    algorithms = [] if key is None else sorted(key.algorithms.intersection(allowed))
    if key is not None and algorithms:
        try:
            # PyJWT checks dates by its own clock, so it is asked about the signature alone.
            decoded = jwt.PyJWS().decode_complete(text, key.key, algorithms)
            if "crit" not in decoded["header"] and "b64" not in decoded["header"]:
                return _object(decoded["payload"], "token")
        except (jwt.PyJWTError, InvalidField, ValueError, RecursionError):
            pass
    raise Unauthenticated(REFUSED)


def _check_dates(claims: Mapping[str, Any], now: datetime) -> datetime:
    """When the token ends. Issuer and KMS may be two machines, so it may begin 60 s ahead; never end late."""
    issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
    begins = max(issued_at, _time(claims, "nbf")) if "nbf" in claims else issued_at
    if now < begins - CLOCK_SKEW:
        raise Unauthenticated("the token is not valid yet; compare the clocks")
    if now >= expires_at:
        raise Unauthenticated("the token has expired")
    if expires_at - issued_at > MAX_LIFE:
        raise Unauthenticated("the token is for more than 24 hours")
    return expires_at


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    raise Unauthenticated(f"the token has no usable {name}")


def _id(claims: Mapping[str, Any]) -> list[bytes]:
    """The `jti` (RFC 7519, section 4.1.7) in bytes that no token begins with; nothing if there is none."""
    if "jti" not in claims:
        return []
    value = claims["jti"]
    if not isinstance(value, str):
        raise Unauthenticated("the token's jti is no text")
    return [b"\x00" + value.encode("utf-8", "surrogatepass")]


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _object(data: bytes, field: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidField(field, "is not a JSON object")
    return value
