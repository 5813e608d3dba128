"""The description of the API in OpenAPI 3.1, made of the tables that serve it."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kms.model.secret_type import SECRET_TYPE
from wingman.condition import State
from wingman.http import answers
from wingman.http.key_pages import PAGES, KeyPage
from wingman.http.pages import MAX_BATCH, PEM, SIDES

Description = dict[str, Any]

_TEXT: Description = {"type": "string"}
_BASE64: Description = {"type": "string", "contentEncoding": "base64"}
_TOLD: Mapping[int, str] = {
    400: "The request is wrong, or what it brings is damaged.",
    403: "The KMS refuses; or the request comes from a web page.",
    404: "Never served here: of another tenant, or of an unknown suite.",
    408: "The body is too slow.",
    413: "The body is too large.",
    415: "The body is declared as something else than JSON.",
    500: "A defect, of Wingman or of the KMS.",
    503: "Not now: Wingman has no identity, or the KMS does not answer.",
}
_OF_EVERY_PAGE = (403, 500)
_OF_BODIES = (400, 404, 408, 413, 415, 503)


def description_routes() -> list[Route]:
    description = answers.json(describe())

    async def handle(request: Request) -> Response:
        return description

    return [Route("/openapi.json", handle)]


def describe() -> Description:
    paths: Description = {
        "/status": _get("How it is, in one word.", _word(), _content("text/plain", {"enum": [*State]})),
        "/livez": _get("Whether it lives.", _word(), {}),
        "/readyz": _get("Whether it serves.", _word(), {}, 503),
        "/openapi.json": _get("This description.", {}, _content("application/json", {"type": "object"})),
        "/secret/unseal": _post("Open a secret.", _SECRET, _value("secret")),
        "/secret/unseal/batch": _post("Open several.", _batch(), _content("application/json", _RESULTS)),
    }
    for side in SIDES:
        for what in PEM:
            paths[f"/creds/pki/{side}/{what}"] = _pem(f"The {what} of the identity, in PEM.")
        paths[f"/trust/pki/{side}_ca"] = _pem("The roots to verify others with, in PEM.")
    for name, page in PAGES.items():
        paths[f"/crypto/{name}"] = _post(f"Have a key {name}.", _of_key(page), _answer(page))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Wingman", "version": version("blindfold-kms")},
        "paths": paths,
    }


def _content(media_type: str, schema: Description) -> Description:
    return {media_type: {"schema": schema}}


def _word() -> Description:
    return _content("text/plain", _TEXT)


def _failures(statuses: Iterable[int]) -> Description:
    """A line of text, or for `Accept: application/json` an object."""
    told = {"reason": _TEXT, "message": _TEXT, "hint": _TEXT}
    error = {"type": "object", "properties": told, "required": ["reason", "message"]}
    shown = {"type": "object", "properties": {"error": error}, "required": ["error"]}
    content = _content("text/plain", _TEXT) | _content("application/json", shown)
    return {str(status): {"description": _TOLD[status], "content": content} for status in statuses}


def _get(summary: str, content: Description, more: Description, *statuses: int) -> Description:
    responses = {"200": {"description": summary, "content": content | more}}
    return {"get": {"summary": summary, "responses": responses | _failures((*_OF_EVERY_PAGE, *statuses))}}


def _pem(summary: str) -> Description:
    return _get(summary, _content("application/x-pem-file", _TEXT), {}, 503)


def _post(summary: str, body: Description, content: Description) -> Description:
    return {
        "post": {
            "summary": summary,
            "parameters": [
                {"name": "raw", "in": "query", "description": "Answer with the bytes.", "schema": {}}
            ],
            "requestBody": {"required": True, "content": _content("application/json", body)},
            "responses": {
                "200": {"description": summary, "content": content},
                **_failures(sorted((*_OF_EVERY_PAGE, *_OF_BODIES))),
            },
        }
    }


def _value(called: str, **more: Description) -> Description:
    """What is base64 text, bytes for `?raw`, and for `Accept: application/json` an object."""
    members = {called: _BASE64, **more}
    shown = {"type": "object", "properties": members, "required": list(members)}
    raw = _content(
        "application/octet-stream", {"type": "string", "contentMediaType": "application/octet-stream"}
    )
    return _content("text/plain", _BASE64) | raw | _content("application/json", shown)


def _batch() -> Description:
    what = "Each as in /secret/unseal, and with its own result."
    items = {"type": "array", "description": what, "items": {}, "minItems": 1, "maxItems": MAX_BATCH}
    members = {"secrets": items}
    return {"type": "object", "properties": members, "required": ["secrets"], "additionalProperties": False}


_KINDS: Any = SECRET_TYPE.schema["oneOf"]
# A secret in clear is nothing to ask for.
_SECRET: Description = {"oneOf": [kind for kind in _KINDS if kind["properties"]["type"]["const"] != "clear"]}
_RESULT: Description = {
    "type": "object",
    "properties": {"status": {"type": "integer"}, "secret": _BASE64, "error": {"type": "object"}},
    "required": ["status"],
}
_RESULTS: Description = {
    "type": "object",
    "properties": {"results": {"type": "array", "items": _RESULT}},
    "required": ["results"],
}


def _of_key(page: KeyPage) -> Description:
    schema: Any = page.form.schema
    members = {"key": _TEXT, **schema["properties"]}
    return {**schema, "properties": members, "required": ["key", *schema["required"]]}


def _answer(page: KeyPage) -> Description:
    if page.answered:
        return _value(page.answered, name=_TEXT)
    shown = {"type": "object", "properties": {"name": _TEXT}, "required": ["name"]}
    return _content("text/plain", _TEXT) | _content("application/json", shown)
