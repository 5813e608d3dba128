"""Requests and answers of the stand-in, in the form of Vault's HTTP API."""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_BODY = 32 << 20


class Refusal(Exception):
    """An answer with a list of errors, {"errors": []} for none."""

    def __init__(self, status: int, *errors: str, **more: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = {"errors": list(errors)} | more


class Bare(Exception):
    """An answer that is not in the envelope: sys/health and the like."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = dict(body)


@dataclass
class Request:
    """`path` is what follows /v1/ and the namespace."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]
    peer: bytes | None = None
    token: Any = None

    @property
    def operation(self) -> str:
        """The capability that it needs."""
        if self.method == "LIST" or self.query.get("list") == "true":
            return "list"
        return {"GET": "read", "DELETE": "delete", "POST": "update", "PUT": "update"}.get(self.method, "none")

    def text(self, name: str, *, required: bool = False) -> str:
        value = self.body.get(name) or ""
        if not isinstance(value, str):
            raise Refusal(400, f"error converting input for field {name!r}")
        if required and not value:
            raise Refusal(400, f"missing {name}")
        return value

    def seconds(self, name: str) -> int:
        """A duration as a number, or as text such as 30s, 10m, 1h."""
        value = self.body.get(name) or 0
        found = re.fullmatch(r"(\d+)([smh]?)", str(value))
        if found is None:
            raise Refusal(400, f"error converting input {value!r} for field {name!r}")
        return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


@dataclass
class Reply:
    """What the envelope is made of; an empty one is a 204."""

    data: Mapping[str, Any] | None = None
    auth: Mapping[str, Any] | None = None
    lease_id: str = ""
    lease_duration: int = 0
    renewable: bool = False
    warnings: list[str] | None = None
    raw: Mapping[str, Any] | None = None

    def envelope(self) -> dict[str, Any]:
        return {
            "request_id": secrets.token_hex(16),
            "lease_id": self.lease_id,
            "renewable": self.renewable,
            "lease_duration": self.lease_duration,
            "data": self.data,
            "wrap_info": None,
            "warnings": self.warnings,
            "auth": self.auth,
        }

    @property
    def is_empty(self) -> bool:
        return self.data is None and self.auth is None


Handler = Callable[..., Reply]


@dataclass
class Routes:
    """A table of (operations, pattern of the path, handler); the pattern's groups are its arguments."""

    rows: list[tuple[tuple[str, ...], "re.Pattern[str]", Handler]] = field(default_factory=list)

    def add(self, operations: str, pattern: str, handler: Handler) -> None:
        self.rows.append((tuple(operations.split()), re.compile(pattern), handler))

    def answer(self, request: Request, path: str) -> Reply:
        matching = [(row, found) for row in self.rows if (found := row[1].fullmatch(path))]
        if not matching:
            raise Refusal(404, "1 error occurred:\n\t* unsupported path\n\n")
        for (operations, _, handler), found in matching:
            if request.operation in operations:
                return handler(request, *found.groups())
        raise Refusal(405, "1 error occurred:\n\t* unsupported operation\n\n")


def parse_body(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "failed to parse JSON input: invalid character")
    return body
