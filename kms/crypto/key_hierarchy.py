"""root key -> keys of the store, of backups, and the root wrapping key -> tenant keys -> key versions.

`docs/spec/store.md`, "Keys". Rows of the kinds in `ROOT_WRAPPED` hold nothing but bytes that the root
wrapping key wrapped; a rotation of the root key wraps them anew.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypedDict

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindfold.secret import SecretBytes
from kms.crypto.wrapping import UnwrapFailed, unwrap, wrap

ROOT_KEY_SIZE = 32
TENANT_KEY_SIZE = 32
AUDIT_KEY = "auditKey"
TENANT_KEY = "tenantKey"
DOCUMENTS_ROOT = "documentsRoot"
AUTHORITY_KEY = "authorityKey"


class _Bound(TypedDict):
    """What a wrapping binds."""

    resource: str
    version: int
    algorithm: str
    purpose: str


@dataclass(frozen=True, slots=True)
class WrappedKind:
    """What the root wrapping key binds besides the row's name."""

    algorithm: str
    purpose: str


ROOT_WRAPPED: Mapping[str, WrappedKind] = {
    AUDIT_KEY: WrappedKind("ED25519", "AUDIT_CHECKPOINTS"),
    TENANT_KEY: WrappedKind("AES_256_GCM", "WRAP_KEY_VERSIONS"),
    DOCUMENTS_ROOT: WrappedKind("ED25519", "SIGN_DELEGATIONS"),
    AUTHORITY_KEY: WrappedKind("EC_P256", "ISSUE_CERTIFICATES"),
}

_PREVIOUS: _Bound = {
    "resource": "rootRotation/current",
    "version": 1,
    "algorithm": "HKDF_SHA_256",
    "purpose": "PREVIOUS_ROOT_KEY",
}


def derive(key: SecretBytes, info: bytes, length: int = 32) -> SecretBytes:
    """HKDF-SHA-256 (RFC 5869) without salt: `key` is uniform already, and `info` separates the uses."""
    return SecretBytes(HKDF(SHA256(), length, None, info).derive(key.reveal()))


@dataclass(frozen=True, slots=True)
class KeyHierarchy:
    """All that is derived from the root key; 32 bytes each."""

    row_authentication: SecretBytes
    state_element: SecretBytes
    state_digest: SecretBytes
    audit_event: SecretBytes
    root_wrapping: SecretBytes
    backup_wrapping: SecretBytes

    @classmethod
    def derive(cls, root_key: SecretBytes) -> Self:
        """Raises `ValueError` unless the root key has 32 bytes."""
        if len(root_key) != ROOT_KEY_SIZE:
            raise ValueError(f"a root key has {ROOT_KEY_SIZE} bytes, not {len(root_key)}")
        return cls(
            row_authentication=derive(root_key, b"kms/v1 row authentication"),
            state_element=derive(root_key, b"kms/v1 state element"),
            state_digest=derive(root_key, b"kms/v1 state digest"),
            audit_event=derive(root_key, b"kms/v1 audit event"),
            root_wrapping=derive(root_key, b"kms/v1 root wrapping"),
            backup_wrapping=derive(root_key, b"kms/v1 backup wrapping"),
        )

    def wrap_previous(self, root_key: SecretBytes) -> bytes:
        """The root key before, as long as it is needed: reached by this one, and by nothing else."""
        return wrap(self.root_wrapping, root_key, **_PREVIOUS)

    def unwrap_previous(self, wrapped: bytes) -> "KeyHierarchy":
        """What is derived from the root key before. Raises `UnwrapFailed`."""
        with unwrap(self.root_wrapping, wrapped, **_PREVIOUS) as root_key:
            return KeyHierarchy.derive(root_key)

    def wrap(self, kind: str, name: str, key: SecretBytes) -> bytes:
        """The body of the row (kind, name), for a kind in `ROOT_WRAPPED`."""
        bound = ROOT_WRAPPED[kind]
        return wrap(
            self.root_wrapping,
            key,
            resource=name,
            version=1,
            algorithm=bound.algorithm,
            purpose=bound.purpose,
        )

    def unwrap(self, kind: str, name: str, body: bytes) -> SecretBytes:
        """The key in the row (kind, name). Raises `UnwrapFailed`."""
        bound = ROOT_WRAPPED[kind]
        return unwrap(
            self.root_wrapping,
            body,
            resource=name,
            version=1,
            algorithm=bound.algorithm,
            purpose=bound.purpose,
        )


@dataclass(frozen=True, slots=True)
class RootKeys:
    """What is derived from the root key in force and, while that is being rotated, from the one before."""

    current: KeyHierarchy
    previous: KeyHierarchy | None = None

    def unwrap(self, kind: str, name: str, body: bytes) -> SecretBytes:
        """The key in the row (kind, name), whichever of both wrapped it. Raises `UnwrapFailed`."""
        if self.previous is not None:
            try:
                return self.previous.unwrap(kind, name, body)
            except UnwrapFailed:
                pass
        return self.current.unwrap(kind, name, body)

    def rewrap(self, kind: str, name: str, body: bytes) -> bytes:
        """The body of the row (kind, name) of any kind, for the time when the previous root key is gone.

        Raises `UnwrapFailed`.
        """
        if self.previous is None or kind not in ROOT_WRAPPED:
            return body
        try:
            with self.previous.unwrap(kind, name, body) as key:
                return self.current.wrap(kind, name, key)
        except UnwrapFailed:
            pass
        self.current.unwrap(kind, name, body).wipe()
        return body


def new_tenant_key(random_bytes: Callable[[int], bytes] = os.urandom) -> SecretBytes:
    """A fresh key to wrap a tenant's key versions with."""
    return SecretBytes(random_bytes(TENANT_KEY_SIZE))
