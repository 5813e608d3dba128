"""Whatever a server answers is an object, an error of ours, or a secret of the form that was asked for."""

import io
import json
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from vault.fetching import wanted

from kms.external.errors import (
    ExternalFailed,
    LoginRefused,
    NotAsExpected,
    Sealed,
    TooLarge,
    Unreadable,
    VersionGone,
)
from kms.external.fetched import chosen, chosen_of_bytes
from kms.external.statuses import MAX_RETRY_AFTER, failure
from kms.external.vault.adapter import answer
from kms.model.secret_type import SecretEncoding

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


def response(status: int, body: bytes, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    made.raw = io.BytesIO(body)
    return made


@given(st.integers(100, 599), BODIES, st.text(max_size=12))
def test_an_answer_is_an_object_or_an_error_of_ours(status: int, body: bytes, retry_after: str) -> None:
    failed, made = None, None
    try:
        made = answer(response(status, body, retry_after=retry_after))
    except ExternalFailed as error:
        failed = error
    if failed is None:
        assert isinstance(made, dict)
        assert made == ({} if status == 204 else json.loads(body))
    else:
        assert status not in (200, 204) or isinstance(failed, Unreadable)
        assert failed.retry_after is None or 0 <= failed.retry_after <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, {"errors": ["Vault is sealed"]}, Sealed),
        (501, {}, Sealed),
        (404, {"data": {"data": None, "metadata": {"destroyed": True}}}, VersionGone),
        (400, {"errors": ["wrapping token is not valid or does not exist"]}, LoginRefused),
    ],
)
def test_what_only_the_body_tells_apart_is_told_apart(
    status: int, body: object, kind: type[ExternalFailed]
) -> None:
    with pytest.raises(kind):
        answer(response(status, json.dumps(body).encode()))


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("7", 7), ("99999999999", MAX_RETRY_AFTER)])
def test_a_number_of_seconds_is_one(text: str, seconds: float) -> None:
    assert failure(429, text).retry_after == seconds


@given(
    st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    st.text(max_size=8).filter(str.isprintable),
    st.sampled_from(SecretEncoding),
)
def test_a_secret_is_of_the_form_that_was_asked_for_or_there_is_none(
    data: dict[str, Any], key: str, encoding: SecretEncoding
) -> None:
    secret = wanted("a/b", key=key, encoding=encoding)
    results = []
    for choose in (lambda: chosen(data, secret, 100), lambda: chosen_of_bytes(_dump(data), secret, 100)):
        try:
            results.append(choose().reveal())
        except (NotAsExpected, TooLarge) as error:
            results.append(type(error))
    if key:
        assert results[0] == results[1]
    assert all(not isinstance(result, bytes) or len(result) <= 100 for result in results)


@given(st.binary(max_size=60), st.sampled_from(SecretEncoding))
def test_bytes_are_a_secret_or_no_base64(body: bytes, encoding: SecretEncoding) -> None:
    secret = wanted("a/b", encoding=encoding)
    try:
        made = chosen_of_bytes(body, secret, 100).reveal()
    except NotAsExpected:
        assert encoding is SecretEncoding.BASE64
    else:
        assert encoding is SecretEncoding.BASE64 or made == body


@pytest.mark.parametrize("key", ["", "a"])
def test_text_that_is_no_unicode_is_no_secret(key: str) -> None:
    with pytest.raises(NotAsExpected, match="Unicode"):
        chosen(json.loads('{"a":"\\ud800"}'), wanted("a/b", key=key), 100)


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode()
