"""POST /crypto/...: one page for each operation on keys."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blindfold.secret import SecretBytes
from kms.client import operations as op
from kms.errors import InvalidField
from kms.model.json_form import BYTES, Form, object_of
from wingman.http import answers
from wingman.http.bodies import read_object
from wingman.key_operations import KeyOperations, parse_key


@dataclass(frozen=True, slots=True)
class KeyPage:
    """`form` is that of the body beside `key`; `answered` names the bytes of the answer, "" for none."""

    form: Form
    answered: str


def _page(kind: Callable[..., op.Request[Any]], members: str, required: str, answered: str = "") -> KeyPage:
    return KeyPage(object_of(kind, dict.fromkeys(members.split(), BYTES), tuple(required.split())), answered)


PAGES: Mapping[str, KeyPage] = MappingProxyType(
    {
        "encrypt": _page(op.Encrypt, "plaintext aad", "plaintext", "ciphertext"),
        "decrypt": _page(op.Decrypt, "ciphertext aad", "ciphertext", "plaintext"),
        "sign": _page(op.Sign, "message digest", "", "signature"),
        "verify": _page(op.Verify, "message digest signature", "signature"),
        "mac": _page(op.Mac, "message", "message", "mac"),
        "mac-verify": _page(op.MacVerify, "message mac", "message mac"),
    }
)


class KeyPages:
    """The handlers of requests. `tenant` gives that of the identity."""

    def __init__(self, operations: KeyOperations, tenant: Callable[[], str]) -> None:
        self._operations = operations
        self._tenant = tenant

    def routes(self) -> list[Route]:
        return [
            Route(f"/crypto/{name}", self._handle(page), methods=["POST"]) for name, page in PAGES.items()
        ]

    def _handle(self, page: KeyPage) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            body = dict(await read_object(request))
            key = body.pop("key", None)
            if not isinstance(key, str):
                raise InvalidField("key", "must be the whole name of a key")
            name = parse_key(key, self._tenant())
            return _answer(request, page, await self._operations.run(name, page.form.decode(body)))

        return handle


def _answer(request: Request, page: KeyPage, done: Any) -> Response:
    """`name` is the key version that did it."""
    told = {"name": done.name}
    if not page.answered:
        return answers.json(told) if answers.wants_json(request) else answers.text(done.name)
    value = getattr(done, page.answered)
    return answers.value(
        request, page.answered, value.reveal() if isinstance(value, SecretBytes) else value, told
    )
