"""An opening by the library, watched from inside: what only the client may ever have held."""

import base64
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from blindfold import opening
from blindfold.envelope import MAC_SIZE, Header, header_size
from blindfold.sealing import derive_keys
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.opening import open_sealed


@dataclass(frozen=True, slots=True)
class Traces:
    """The values to look for."""

    scalar: bytes
    x: bytes
    header_key: bytes
    payload_key: bytes
    element: bytes
    mac: bytes
    payload: bytes


def open_and_trace(sealed: bytes, credentials: Path, server: str) -> Traces:
    """Open as those credentials allow, and keep what the derivation of the keys saw."""
    seen: list[tuple[bytes, bytes, bytes]] = []

    def watched(public: bytes, x: bytes) -> tuple[bytes, bytes]:
        header_key, payload_key = derive_keys(public, x)
        seen.append((x, header_key, payload_key))
        return header_key, payload_key

    with mock.patch.object(opening, "derive_keys", watched), open_channel(server, credentials) as channel:
        secret = open_sealed(Api(channel), sealed).reveal()
    [(x, header_key, payload_key)] = seen
    end = 15 + header_size(sealed[:15])
    return Traces(
        scalar=private_scalar(base64.b64decode("".join(secret.decode().splitlines()[1:-1]))),
        x=x,
        header_key=header_key,
        payload_key=payload_key,
        element=Header.parse(sealed[:end]).lock.element,
        mac=sealed[end : end + MAC_SIZE],
        payload=sealed[end + MAC_SIZE :],
    )


def private_scalar(der: bytes) -> bytes:
    """The 32 bytes of a P-256 private key (RFC 5915, in the PKCS #8 form of RFC 5958)."""
    before = bytes.fromhex("0201010420")
    start = der.index(before) + len(before)
    return der[start : start + 32]
