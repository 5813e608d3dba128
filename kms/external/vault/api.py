"""What is asked of a vault, one request a method. They block, and raise `ExternalFailed`."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import hvac.api
import requests

from blindfold.secret import SecretBytes
from kms.external.errors import Unreadable
from kms.external.vault.adapter import Adapter
from kms.model.secret_management_access import SecretManagementAccess

# One word, as it goes into a header.
_TOKEN = re.compile(r"[!-~]{1,16384}", re.ASCII)
_MOST = 2**31 - 1


class Health(Enum):
    """What a server says of itself: the codes of sys/health."""

    ACTIVE = 200
    STANDBY = 429
    RECOVERY_SECONDARY = 472
    PERFORMANCE_STANDBY = 473
    UNINITIALISED = 501
    SEALED = 503


@dataclass(frozen=True, slots=True, eq=False)
class Issued:
    """A token. `seconds` is how long it lives, 0 for ever; `is_own` if it was made for this connection."""

    token: SecretBytes = field(repr=False)
    seconds: int
    renewable: bool
    is_own: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """`id` is no secret that opens anything, but ends what it is of."""

    id: str
    seconds: int
    renewable: bool


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What there was: JSON values by name. `version` is 0 where there are none."""

    data: Mapping[str, Any] = field(repr=False)
    version: int = 0
    lease: Lease | None = None


class VaultApi:
    """The vault of an access as the holder of one token, or of none."""

    def __init__(
        self, session: requests.Session, access: SecretManagementAccess, token: SecretBytes | None = None
    ) -> None:
        self._adapter = Adapter(
            base_uri=access.endpoint,
            token=token.reveal().decode("ascii") if token is not None else None,
            session=session,
            namespace=access.vault_namespace or None,
            allow_redirects=False,
        )
        self._auth = hvac.api.AuthMethods(adapter=self._adapter)
        self._secrets = hvac.api.SecretsEngines(adapter=self._adapter)
        self._system = hvac.api.SystemBackend(adapter=self._adapter)

    def kv_v1(self, mount: str, path: str) -> Answer:
        return Answer(_data(self._secrets.kv.v1.read_secret(path, mount_point=mount)))

    def kv_v2(self, mount: str, path: str, version: int) -> Answer:
        """Version 0 is the newest."""
        read = self._secrets.kv.v2.read_secret_version
        found = _data(read(path, version or None, mount_point=mount, raise_on_deleted_version=True))
        inner, metadata = found.get("data"), found.get("metadata")
        if not isinstance(inner, dict) or not isinstance(metadata, dict):
            raise Unreadable("the answer is none of the second version of the key-value engine")
        return Answer(inner, _whole(metadata.get("version")))

    def dynamic(self, mount: str, role: str) -> Answer:
        made = self._adapter.get(f"/v1/{mount}/creds/{role}")
        return Answer(_data(made), lease=_lease(made) if made.get("lease_id") else None)

    def decrypt(self, mount: str, key: str, ciphertext: str, associated_data: str = "") -> bytes:
        """`associated_data` is in base64, "" for none."""
        decrypt = self._secrets.transit.decrypt_data
        found = _data(decrypt(key, ciphertext, associated_data=associated_data or None, mount_point=mount))
        return decoded(found.get("plaintext"))

    def transit_key(self, mount: str, key: str) -> Mapping[str, Any]:
        return _data(self._secrets.transit.read_key(key, mount_point=mount))

    def export(self, mount: str, key: str, key_type: str) -> Mapping[str, Any]:
        """All versions; `key_type` is encryption-key, signing-key or hmac-key."""
        return _data(self._secrets.transit.export_key(key, key_type, mount_point=mount))

    def take_public_key(self, mount: str, name: str, pem: str) -> None:
        """Make a key of the engine of an RSA public key of 3072 bits."""
        body = {"type": "rsa-3072", "public_key": pem}
        self._adapter.post(f"/v1/{mount}/keys/{name}/import", json=body)

    def export_wrapped(self, mount: str, towards: str, key: str) -> Mapping[str, Any]:
        """All versions of a key, wrapped to another of the engine: OAEP with SHA-256, then AES-KWP."""
        return _data(self._adapter.get(f"/v1/{mount}/byok-export/{towards}/{key}"))

    def drop_key(self, mount: str, name: str) -> None:
        self._adapter.post(f"/v1/{mount}/keys/{name}/config", json={"deletion_allowed": True})
        self._adapter.delete(f"/v1/{mount}/keys/{name}")

    def renew_lease(self, lease: Lease) -> Lease:
        return _lease(self._system.renew_lease(lease.id))

    def revoke_lease(self, lease: Lease) -> None:
        self._system.revoke_lease(lease.id)

    def app_role(self, mount: str, role_id: str, secret_id: str) -> Issued:
        login = self._auth.approle.login
        return _issued(login(role_id, secret_id, use_token=False, mount_point=mount))

    def kubernetes(self, mount: str, role: str, jwt: str) -> Issued:
        return _issued(self._auth.kubernetes.login(role, jwt, use_token=False, mount_point=mount))

    def certificate(self, mount: str, role: str) -> Issued:
        # hvac's own login takes files of the certificate, which the connection shows already.
        return _issued(self._adapter.post(f"/v1/auth/{mount}/login", json={"name": role} if role else {}))

    def look_up(self, token: SecretBytes) -> Issued:
        """What this API's own token is."""
        found = _data(self._auth.token.lookup_self())
        return Issued(token, _whole(found.get("ttl")), found.get("renewable") is True, is_own=False)

    def renew(self) -> Issued:
        return _issued(self._auth.token.renew_self())

    def revoke(self) -> None:
        self._auth.token.revoke_self()

    def unwrap(self) -> Mapping[str, Any]:
        """What the wrapping token that this API has holds, once."""
        held: Mapping[str, Any] = self._system.unwrap()
        return held

    def health(self) -> Health:
        """Asked without token and namespace: it is the server's, not the caller's."""
        code = self._system.read_health_status(method="GET").status_code
        try:
            return Health(code)
        except ValueError:
            pass
        raise Unreadable(f"the server answers {code} for its health")


def issued(auth: object) -> Issued:
    """Of the `auth` of an answer. Raises `Unreadable`."""
    text = auth.get("client_token") if isinstance(auth, dict) else None
    if not isinstance(auth, dict) or not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise Unreadable("the answer has no token")
    seconds, renewable = _whole(auth.get("lease_duration")), auth.get("renewable") is True
    return Issued(SecretBytes(text.encode()), seconds, renewable, is_own=True)


def decoded(text: object) -> bytes:
    """Standard base64. Raises `Unreadable`."""
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        pass
    raise Unreadable("the answer has no base64 where it should")


def _issued(body: Mapping[str, Any]) -> Issued:
    return issued(body.get("auth"))


def _data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    data = body.get("data")
    if not isinstance(data, dict):
        raise Unreadable("the answer has no data")
    return data


def _lease(body: Mapping[str, Any]) -> Lease:
    identifier = body.get("lease_id")
    if not isinstance(identifier, str):
        raise Unreadable("the answer has no lease")
    return Lease(identifier, _whole(body.get("lease_duration")), body.get("renewable") is True)


def _whole(value: object) -> int:
    """A number from 0 on, as seconds and versions are; 0 for anything else."""
    return min(value, _MOST) if type(value) is int and value > 0 else 0
