"""The transit engine of the stand-in: named keys with versions, and what they encrypt."""

import base64
import binascii
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from vault.exchange import Refusal, Reply, Request, Routes

AES = {"aes128-gcm96": 16, "aes256-gcm96": 32}
RSA = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
# Which keys hold, as private keys, something that this type of an export gives.
EXPORTS = {
    "encryption-key": {*AES, *RSA},
    "signing-key": set(RSA),
    "hmac-key": {*AES, *RSA, "hmac"},
}


@dataclass
class Key:
    type: str
    exportable: bool
    derived: bool
    versions: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    least: int = 1
    public: str = ""
    deletable: bool = False

    @property
    def latest(self) -> int:
        return max(self.versions)


class Transit:
    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self.routes = Routes()
        self.routes.add("update", r"keys/([\w.-]+)", self._create)
        self.routes.add("read", r"keys/([\w.-]+)", self._read)
        self.routes.add("list", r"keys/?", lambda request: Reply({"keys": sorted(self._keys)}))
        self.routes.add("update", r"keys/([\w.-]+)/rotate", self._rotate)
        self.routes.add("update", r"keys/([\w.-]+)/config", self._configure)
        self.routes.add("update", r"keys/([\w.-]+)/trim", self._trim)
        self.routes.add("update", r"keys/([\w.-]+)/import", self._take)
        self.routes.add("delete", r"keys/([\w.-]+)", self._delete)
        self.routes.add("read", r"export/([\w-]+)/([\w.-]+)", self._export)
        self.routes.add("read", r"byok-export/([\w.-]+)/([\w.-]+)", self._wrap)
        self.routes.add("update", r"encrypt/([\w.-]+)", self._encrypt)
        self.routes.add("update", r"decrypt/([\w.-]+)", self._decrypt)
        self.routes.add("update", r"hmac/([\w.-]+)", self._hmac)

    def _create(self, request: Request, name: str) -> Reply:
        if name not in self._keys:
            made = request.text("type") or "aes256-gcm96"
            if made not in {*AES, *RSA, "hmac"}:
                raise Refusal(400, f'unknown key type "{made}"')
            if made == "hmac" and not request.body.get("key_size"):
                raise Refusal(400, "invalid key_size 0, must be between 32 and 512 bytes")
            key = Key(made, request.body.get("exportable") is True, request.body.get("derived") is True)
            self._keys[name] = key
            self._add_version(key, int(request.body.get("key_size") or 0))
        return Reply({"name": name} | self._described(self._keys[name]))

    def _read(self, request: Request, name: str) -> Reply:
        return Reply({"name": name} | self._described(self._found(name)))

    def _rotate(self, request: Request, name: str) -> Reply:
        key = self._found(name, status=400)
        self._add_version(key, len(next(iter(key.versions.values()))[0]))
        return Reply({"name": name} | self._described(key))

    def _configure(self, request: Request, name: str) -> Reply:
        key = self._found(name, status=400)
        for setting in ("min_decryption_version", "min_encryption_version"):
            if not 0 <= int(request.body.get(setting) or 0) <= key.latest:
                raise Refusal(400, f"cannot set {setting} of {request.body[setting]}")
        key.least = int(request.body.get("min_decryption_version") or key.least)
        key.deletable = request.body.get("deletion_allowed", key.deletable) is True
        return Reply({"name": name} | self._described(key))

    def _trim(self, request: Request, name: str) -> Reply:
        key = self._found(name, status=400)
        least = int(request.body.get("min_available_version") or 0)
        if not 0 < least <= key.least:
            raise Refusal(400, "minimum available version cannot be higher than minimum decryption version")
        key.versions = {number: made for number, made in key.versions.items() if number >= least}
        return Reply({"name": name} | self._described(key))

    def _export(self, request: Request, what: str, name: str) -> Reply:
        if what not in EXPORTS:
            raise Refusal(400, f"invalid export type: {what}")
        key = self._found(name)
        if not key.exportable:
            raise Refusal(400, "private key material is not exportable")
        if key.type not in EXPORTS[what]:
            raise Refusal(400, f"unknown key type {key.type} for export type {what}")
        exported = {
            str(number): _exported(key.type, what, *made)
            for number, made in key.versions.items()
            if number >= key.least
        }
        return Reply({"name": name, "type": key.type, "keys": exported})

    def _take(self, request: Request, name: str) -> Reply:
        pem = request.text("public_key")
        if not pem or name in self._keys:
            raise Refusal(400, "the import path cannot be used with an existing key")
        serialization.load_pem_public_key(pem.encode())
        self._keys[name] = Key(request.text("type"), False, False, {1: (b"", b"")}, public=pem)
        return Reply()

    def _delete(self, request: Request, name: str) -> Reply:
        if not self._found(name, status=400).deletable:
            raise Refusal(400, f"error deleting policy {name}: deletion is not allowed for this key")
        del self._keys[name]
        return Reply()

    def _wrap(self, request: Request, towards: str, name: str) -> Reply:
        """To the key `towards`: an AES key by RSA-OAEP, and by that the material with AES-KWP."""
        if towards not in self._keys or name not in self._keys:
            raise Refusal(404, "1 error occurred:\n\t* no such key\n\n")
        key, recipient = self._keys[name], self._keys[towards].public
        if not key.exportable:
            raise Refusal(400, "key is not exportable")
        if not recipient:
            raise Refusal(400, f"message signing not supported for key type {self._keys[towards].type}")
        wrapped = {
            str(number): base64.b64encode(_wrapped(recipient, _portable(key.type, made[0]))).decode()
            for number, made in key.versions.items()
            if number >= key.least
        }
        return Reply({"name": name, "type": key.type, "keys": wrapped})

    def _encrypt(self, request: Request, name: str) -> Reply:
        key = self._found(name, status=400)
        made = self._sealed(key, _base64(request, "plaintext"), _base64(request, "associated_data"))
        text = base64.b64encode(made).decode()
        return Reply({"ciphertext": f"vault:v{key.latest}:{text}", "key_version": key.latest})

    def _decrypt(self, request: Request, name: str) -> Reply:
        key = self._found(name, status=400)
        prefix, version, text = ([*request.text("ciphertext").split(":"), "", ""])[:3]
        if prefix != "vault" or not version[1:].isdecimal():
            raise Refusal(400, "invalid ciphertext: no prefix")
        number = int(version[1:])
        if number < key.least or number not in key.versions:
            raise Refusal(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            sealed = base64.b64decode(text, validate=True)
            plaintext = self._opened(key, number, sealed, _base64(request, "associated_data"))
        except (binascii.Error, ValueError, InvalidTag):
            raise Refusal(400, "cipher: message authentication failed") from None
        return Reply({"plaintext": base64.b64encode(plaintext).decode()})

    def _hmac(self, request: Request, name: str) -> Reply:
        key = self._found(name, status=400)
        made = hmac.HMAC(key.versions[key.latest][1], hashes.SHA256())
        made.update(_base64(request, "input"))
        return Reply({"hmac": f"vault:v{key.latest}:{base64.b64encode(made.finalize()).decode()}"})

    def _sealed(self, key: Key, plaintext: bytes, bound: bytes) -> bytes:
        material = self._material(key, key.latest)
        if key.type in RSA:
            return _private(material).public_key().encrypt(plaintext, OAEP)
        nonce = os.urandom(12)
        return nonce + AESGCM(material).encrypt(nonce, plaintext, bound)

    def _opened(self, key: Key, number: int, sealed: bytes, bound: bytes) -> bytes:
        material = self._material(key, number)
        if key.type in RSA:
            return _private(material).decrypt(sealed, OAEP)
        return AESGCM(material).decrypt(sealed[:12], sealed[12:], bound)

    def _material(self, key: Key, number: int) -> bytes:
        if key.type == "hmac":
            raise Refusal(400, "message encryption not supported for key type hmac")
        if key.derived:
            raise Refusal(400, "missing 'context' for key derivation")
        return key.versions[number][0]

    def _found(self, name: str, status: int = 404) -> Key:
        if name not in self._keys:
            raise Refusal(status, *(["encryption key not found"] if status == 400 else []))
        return self._keys[name]

    def _add_version(self, key: Key, size: int) -> None:
        number = max(key.versions, default=0) + 1
        if key.type in RSA:
            private = rsa.generate_private_key(65537, RSA[key.type])
            key.versions[number] = (_pkcs1(private), secrets.token_bytes(32))
        else:
            material = secrets.token_bytes(AES.get(key.type) or size)
            key.versions[number] = (material, material if key.type == "hmac" else secrets.token_bytes(32))

    def _described(self, key: Key) -> dict[str, Any]:
        describe: Callable[[bytes], object] = (
            (lambda made: {"name": key.type, "public_key": key.public or _public(made)})
            if key.type in RSA
            else (lambda made: round(time.time()))
        )
        described = {
            "type": key.type,
            "exportable": key.exportable,
            "derived": key.derived,
            "deletion_allowed": False,
            "allow_plaintext_backup": False,
            "latest_version": key.latest,
            "min_available_version": min(key.versions) if min(key.versions) > 1 else 0,
            "min_decryption_version": key.least,
            "min_encryption_version": 0,
        }
        if key.type == "hmac":
            return described
        versions = {number: made for number, made in key.versions.items() if number >= key.least}
        return described | {"keys": {str(number): describe(made[0]) for number, made in versions.items()}}


def _base64(request: Request, name: str) -> bytes:
    try:
        return base64.b64decode(request.text(name), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"failed to base64-decode {name}") from None


def _exported(type_: str, what: str, material: bytes, mac: bytes) -> str:
    if what == "hmac-key":
        return base64.b64encode(mac).decode()
    return material.decode() if type_ in RSA else base64.b64encode(material).decode()


def _pkcs1(private: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _public(pem: bytes) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _private(pem).public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def _private(pem: bytes) -> Any:
    return serialization.load_pem_private_key(pem, None)


def _portable(type_: str, material: bytes) -> bytes:
    """An RSA key as PKCS #8."""
    if type_ not in RSA:
        return material
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    made: bytes = _private(material).private_bytes(serialization.Encoding.DER, form, plain)
    return made


def _wrapped(pem: str, material: bytes) -> bytes:
    ephemeral, recipient = os.urandom(32), serialization.load_pem_public_key(pem.encode())
    assert isinstance(recipient, rsa.RSAPublicKey)
    return recipient.encrypt(ephemeral, OAEP) + aes_key_wrap_with_padding(ephemeral, material)
