"""An issuer's keys, and tokens as a Kubernetes cluster makes them for service accounts."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from blindfold.secret import SecretBytes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
URL = "https://oidc.cluster.example"
AUDIENCE = "kms.acme.example"


@cache
def private_key(kind: str) -> Any:
    """By the algorithm that it signs with, or what is wrong with it."""
    made = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "PS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
        "short": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505
        "exponent": lambda: rsa.generate_private_key(3, 2048),
    }
    return made[kind]()


def jwk(kind: str, key_id: str = "", **fields: Any) -> dict[str, Any]:
    """The public key of that kind."""
    key = private_key(kind).public_key()
    algorithms = jwt.algorithms.get_default_algorithms()
    name = {"short": "RS256", "exponent": "RS256"}.get(kind, kind)
    made = algorithms[name].to_jwk(key, as_dict=True)
    return {"kid": key_id or kind, "use": "sig", **made, **fields}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(now: datetime = NOW, **changed: Any) -> dict[str, Any]:
    """Of a projected service-account token for an hour; a claim of None is left out."""
    start = int(now.timestamp())
    made = {
        "iss": URL,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:prod:web",
        "iat": start,
        "nbf": start,
        "exp": start + 3600,
        "jti": str(uuid4()),
        "kubernetes.io": {
            "namespace": "prod",
            "serviceaccount": {"name": "web", "uid": "13f43f5f-1b5a-4b0e-8d4a-3a3a6f8b0b11"},
            "pod": {"name": "web-7c9d", "uid": "9b1d"},
        },
    }
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def token(
    made: Mapping[str, Any] | None = None,
    kind: str = "RS256",
    headers: Mapping[str, Any] | None = None,
) -> SecretBytes:
    """Signed as by the cluster's API server."""
    payload = json.dumps(claims() if made is None else made).encode()
    text = jwt.PyJWS().encode(payload, private_key(kind), kind, {"kid": kind, **(headers or {})})
    return SecretBytes(text.encode())
