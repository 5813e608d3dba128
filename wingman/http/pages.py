"""What Wingman answers at which path (docs/wingman.md)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blindfold.errors import BlindfoldError
from kms.client.credentials import Credentials
from kms.client.errors import CallFailed
from kms.errors import InvalidField, KmsError, LimitExceeded
from kms.model.predicate import within
from kms.model.secret_type import SecretType, parse_secret
from wingman.condition import Condition, State
from wingman.errors import NotReady
from wingman.http import answers
from wingman.http.answers import Failure
from wingman.http.bodies import BadBody, read_object
from wingman.identity import IdentityKeeper
from wingman.secret_source import SecretSource

Handle = Callable[[Request], Awaitable[Response]]

MAX_BATCH = 256
# One identity, one certificate: for servers and for clients, signed by one authority.
SIDES = ("server", "client")
PEM: Mapping[str, Callable[[Credentials], bytes]] = MappingProxyType(
    {
        "key": lambda identity: identity.key_pem.reveal(),
        "cert": lambda identity: identity.certificate_pem,
        "cert-only": lambda identity: identity.leaf_pem,
    }
)


class Pages:
    """The handlers of requests."""

    def __init__(self, condition: Condition, identity: IdentityKeeper, source: SecretSource) -> None:
        self._condition = condition
        self._identity = identity
        self._source = source

    def routes(self) -> list[Route]:
        return [
            Route("/status", self.status),
            Route("/livez", self.livez),
            Route("/readyz", self.readyz),
            Route("/secret/unseal", self.unseal, methods=["POST"]),
            Route("/secret/unseal/batch", self.unseal_batch, methods=["POST"]),
            *(Route(f"/creds/pki/{side}/{what}", self.pem(PEM[what])) for side in SIDES for what in PEM),
            *(Route(f"/trust/pki/{side}_ca", self.pem(lambda identity: identity.ca_pem)) for side in SIDES),
        ]

    async def status(self, request: Request) -> Response:
        """Always 200."""
        rule = self._condition.rule
        if answers.wants_json(request):
            return answers.json({"status": rule.state, "because": rule.because})
        return Response(rule.state, headers=dict(answers.HEADERS), media_type="text/plain; charset=utf-8")

    async def livez(self, request: Request) -> Response:
        return answers.text("ok")

    async def readyz(self, request: Request) -> Response:
        """Whether programs are served: in DEGRADED what is kept is, and the rest may be."""
        rule = self._condition.rule
        serves = rule.state in (State.READY, State.DEGRADED)
        return answers.text("ok" if serves else f"{rule.state}: {rule.because}", 200 if serves else 503)

    async def unseal(self, request: Request) -> Response:
        opened = await self._source.get(parse_secret(await read_object(request)))
        return answers.value(request, "secret", opened.secret.reveal())

    async def unseal_batch(self, request: Request) -> Response:
        """Each has its own result."""
        results = await asyncio.gather(*map(self._unseal_one, _batch(await read_object(request))))
        return answers.json({"results": results})

    async def _unseal_one(self, reference: SecretType | InvalidField) -> Mapping[str, object]:
        try:
            if isinstance(reference, InvalidField):
                raise reference
            opened = await self._source.get(reference)
        except Exception as error:
            failure = answers.describe(error)
            return {"status": failure.status, "error": failure.to_json()}
        return {"status": 200, "secret": answers.base64_text(opened.secret.reveal())}

    def pem(self, read: Callable[[Credentials], bytes]) -> Handle:
        """PEM as it is: it needs no base64."""

        async def handle(request: Request) -> Response:
            if self._condition.state is State.HALTED:
                raise NotReady(self._condition.rule.because)
            return Response(
                read(self._identity.current),
                headers=dict(answers.HEADERS),
                media_type="application/x-pem-file",
            )

        return handle


def _batch(body: Mapping[str, object]) -> list[SecretType | InvalidField]:
    """Raises `InvalidField`, `LimitExceeded`; what is wrong with one secret is in its place."""
    asked = body.get("secrets")
    if set(body) != {"secrets"} or not isinstance(asked, list):
        raise InvalidField("secrets", "must be a list, and nothing else beside it")
    if not 1 <= len(asked) <= MAX_BATCH:
        raise LimitExceeded("secrets", f"has 1 to {MAX_BATCH} items")
    return [_reference(index, item) for index, item in enumerate(asked)]


def _reference(index: int, item: object) -> SecretType | InvalidField:
    try:
        with within(f"secrets[{index}]"):
            return parse_secret(item)
    except InvalidField as error:
        return error.with_traceback(None)


async def _failed(request: Request, error: Exception) -> Response:
    return answers.refusal(request, answers.describe(error))


async def _no_page(request: Request, error: Exception) -> Response:
    """Of the router: there is no such path, or not for this method."""
    headers: Mapping[str, str] = getattr(error, "headers", None) or {}
    failure = Failure(404, "NO_SUCH_PAGE", "there is no such page")
    if methods := headers.get("Allow"):
        failure = Failure(405, "OTHER_METHOD", f"the page has another method: {methods}")
    response = answers.refusal(request, failure)
    response.headers.update(headers)
    return response


def application(routes: list[Route]) -> Starlette:
    foreseen = dict.fromkeys((BadBody, CallFailed, KmsError, BlindfoldError, Exception), _failed)
    made = Starlette(routes=routes, exception_handlers={HTTPException: _no_page, **foreseen})
    # It would send whoever asks for a path with a slash at its end to the host of his header.
    made.router.redirect_slashes = False
    return made
