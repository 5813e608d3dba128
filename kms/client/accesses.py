"""Accesses to vaults: fetched by who uses them, and their content in the API's JSON and ours.

Ours is that of docs/external-secrets.md: the choice among several is in a member `type`, words have no
prefix, and times are seconds.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kms.client.api import Api
from kms.client.errors import CallFailed
from kms.errors import InvalidField
from kms.model.access_json import parse_access
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import SecretManagementAccess

SERVICE = "SecretManagementAccessService"

_ENGINE, _ENCODING = "VAULT_ENGINE_", "SECRET_ENCODING_"
_TIMES = ("timeout", "cache_timeout")

Object = dict[str, Any]


class FetchedAccesses:
    """Accesses as they are now; the same object as long as one is unchanged. Safe for several threads."""

    def __init__(self) -> None:
        self._known: dict[SecretManagementAccessName, tuple[Object, SecretManagementAccess]] = {}

    def fetch(self, api: Api, name: SecretManagementAccessName) -> SecretManagementAccess:
        """For a caller that the access selects. Raises `CallFailed`."""
        answer = api.call(SERVICE, "FetchSecretManagementAccess", {"name": str(name)})
        known = self._known.get(name)
        if known is None or known[0] != answer:
            known = answer, _parsed(answer)
            self._known[name] = known
        return known[1]


def _parsed(answer: Mapping[str, Any]) -> SecretManagementAccess:
    try:
        return parse_access(content_of(answer))
    except InvalidField as error:
        problem = error.message
    raise CallFailed(f"the KMS answers with an access that is none: {problem}")


def content_of(answer: Mapping[str, Any]) -> Object:
    """Our JSON object of what an access of the API's JSON holds."""
    content = {**answer.get("content", {})}
    for name in _TIMES:
        if name in content:
            content[f"{name}_seconds"] = int(content.pop(name).removesuffix("s"))
    if "authentication" in content:
        content["authentication"] = _chosen(content["authentication"])
    if "client_key" in content.get("tls", {}):
        content["tls"] = {**content["tls"], "client_key": _chosen(content["tls"]["client_key"])}
    if "mounts" in content:
        content["mounts"] = _engines(content["mounts"], lambda engine: engine.removeprefix(_ENGINE))
    return content


def to_api(content: Mapping[str, Any]) -> Object:
    """The inverse, of a valid object."""
    result = {**content}
    for name in _TIMES:
        if f"{name}_seconds" in result:
            result[name] = f"{result.pop(f'{name}_seconds')}s"
    result["authentication"] = _choice(result["authentication"])
    if "client_key" in result.get("tls", {}):
        result["tls"] = {**result["tls"], "client_key": _choice(result["tls"]["client_key"])}
    result["mounts"] = _engines(result.get("mounts", ()), lambda engine: _ENGINE + engine)
    return result


def _chosen(choice: Mapping[str, Mapping[str, Any]]) -> Object:
    """`{"token": {...}}` as `{"type": "token", ...}`, and so within."""
    for kind, members in choice.items():
        ours: Object = {
            name: _chosen(value) if isinstance(value, Mapping) else value for name, value in members.items()
        }
        if "encoding" in ours:
            ours["encoding"] = ours["encoding"].removeprefix(_ENCODING)
        return {"type": kind, **ours}
    return {}


def _choice(ours: Mapping[str, Any]) -> Object:
    members: Object = {
        name: _choice(value) if isinstance(value, Mapping) else value
        for name, value in ours.items()
        if name != "type"
    }
    if "encoding" in members:
        members["encoding"] = _ENCODING + members["encoding"]
    return {ours["type"]: members}


def _engines(mounts: Any, renamed: Callable[[str], str]) -> list[Object]:
    return [{**mount, "engine": renamed(mount.get("engine", ""))} for mount in mounts]
