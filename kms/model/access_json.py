"""The JSON form of an access (docs/external-secrets.md), and the JSON Schema of it."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from kms.errors import LimitExceeded
from kms.model.json_form import (
    BOOLEAN,
    INTEGER,
    STRINGS,
    Form,
    Variant,
    encode_members,
    list_of,
    member_of,
    object_of,
    object_schema,
    string,
    variant_of,
)
from kms.model.predicate import MAX_EXPRESSIONS, ClientSelector
from kms.model.secret_management_access import (
    MAX_MOUNTS,
    AccessTls,
    AppRoleAuthentication,
    BasicAuthentication,
    CertificateAuthentication,
    Engine,
    HeaderAuthentication,
    KubernetesAuthentication,
    Mount,
    QueryAuthentication,
    SecretManagementAccess,
    TokenAuthentication,
)
from kms.model.secret_type import SECRET_TYPE, ClearSecret

MAX_ACCESS_BYTES = 256 << 10

_TEXT = string()


def _variant(kind: type, members: Mapping[str, Form], required: tuple[str, ...] = ()) -> Variant:
    return Variant(kind, object_of(kind, members, required))


_AUTHENTICATIONS: Mapping[str, Variant] = MappingProxyType(
    {
        "token": _variant(TokenAuthentication, {"token": SECRET_TYPE, "wrapped": BOOLEAN}, ("token",)),
        "app_role": _variant(
            AppRoleAuthentication,
            {"role_id": _TEXT, "secret_id": SECRET_TYPE, "wrapped": BOOLEAN, "mount": _TEXT},
            ("role_id", "secret_id"),
        ),
        "kubernetes": _variant(
            KubernetesAuthentication,
            {"role": _TEXT, "jwt_file": _TEXT, "jwt": SECRET_TYPE, "mount": _TEXT},
            ("role",),
        ),
        "certificate": _variant(CertificateAuthentication, {"role": _TEXT, "mount": _TEXT}),
        "basic": _variant(
            BasicAuthentication, {"username": _TEXT, "password": SECRET_TYPE}, ("username", "password")
        ),
        "header": _variant(
            HeaderAuthentication,
            {"header": _TEXT, "value": SECRET_TYPE, "prefix": _TEXT},
            ("header", "value"),
        ),
        "query": _variant(
            QueryAuthentication, {"parameter": _TEXT, "value": SECRET_TYPE}, ("parameter", "value")
        ),
    }
)
_MEMBERS: Mapping[str, Form] = MappingProxyType(
    {
        "provider": _TEXT,
        "where": object_of(ClientSelector, {"expressions": list_of(_TEXT, maxItems=MAX_EXPRESSIONS)}),
        "endpoint": _TEXT,
        "authentication": variant_of(_AUTHENTICATIONS),
        "tls": object_of(
            AccessTls,
            {
                "ca_pem": _TEXT,
                "server_name": _TEXT,
                "client_certificate_pem": _TEXT,
                "client_key": SECRET_TYPE,
            },
        ),
        "vault_namespace": _TEXT,
        "mounts": list_of(
            object_of(Mount, {"path": _TEXT, "engine": member_of(Engine)}, ("path", "engine")),
            maxItems=MAX_MOUNTS,
        ),
        "timeout_seconds": INTEGER,
        "max_secret_bytes": INTEGER,
        "cache_timeout_seconds": INTEGER,
        "labels": STRINGS,
        "description": _TEXT,
    }
)
_REQUIRED = ("provider", "where", "endpoint", "authentication")
_ACCESS = object_of(SecretManagementAccess, _MEMBERS, _REQUIRED)


def parse_access(obj: object) -> SecretManagementAccess:
    """Read an access's JSON object; `access_to_json` is the inverse.

    Raises `InvalidField`, `LimitExceeded`.
    """
    access: SecretManagementAccess = _ACCESS.decode(obj)
    size = len(json.dumps(access_to_json(access), ensure_ascii=False).encode())
    if size > MAX_ACCESS_BYTES:
        raise LimitExceeded("", f"the access has {size} bytes, at most {MAX_ACCESS_BYTES} are allowed")
    return access


def access_to_json(access: SecretManagementAccess) -> dict[str, object]:
    """The JSON object: what is unset is left out. Clear credentials are in it."""
    return {name: value for name, value in encode_members(access, _MEMBERS).items() if value != {}}


def without_clear(access: SecretManagementAccess) -> dict[str, Any]:
    """The JSON object, in which a credential in clear has its type and nothing else."""
    content: dict[str, Any] = access_to_json(access)
    for path, secret in access.credentials.items():
        if isinstance(secret, ClearSecret):
            member, _, field = path.partition(".")
            content[member] = {**content[member], field: {"type": "clear"}}
    return content


def access_schema() -> Mapping[str, object]:
    """The JSON Schema (2020-12) of the object that `parse_access` reads."""
    return object_schema(_MEMBERS, _REQUIRED)
