"""Secrets of a plain REST server: with a password, a header or a parameter, from one server alone."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from external.https_site import Site, https_site
from vault.workshop import WHERE, clear, open_clear

from kms.external import calls
from kms.external.errors import (
    ExternalFailed,
    LoginRefused,
    NotAsExpected,
    NotThere,
    NotVerified,
    Redirected,
    ServerFailed,
    ServerLimits,
    TooLarge,
    Unreachable,
)
from kms.external.fetched import Fetched
from kms.external.rest import RestSource
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import (
    AccessTls,
    BasicAuthentication,
    HeaderAuthentication,
    QueryAuthentication,
    SecretManagementAccess,
)
from kms.model.secret_type import SecretEncoding, VaultSecret

NAME = SecretManagementAccessName("acme", "prod", "rest")
HEADER = HeaderAuthentication("x-api-key", clear("k-1"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with https_site(tmp_path_factory.mktemp("rest")) as started:
        yield started


@dataclass(frozen=True)
class Rest:
    site: Site

    def access(self, authentication: Any = HEADER, **settings: Any) -> SecretManagementAccess:
        values = {
            "provider": "rest",
            "where": WHERE,
            "endpoint": self.site.url,
            "authentication": authentication,
            "tls": AccessTls(self.site.ca_pem),
        }
        return SecretManagementAccess(**values | settings)

    def get(self, path: str = "db/password", access: Any = None, **how: Any) -> Fetched:
        async def run() -> Fetched:
            source = await RestSource.connect(access or self.access(), open_clear)
            return await source.get(VaultSecret(NAME, path, **how))

        return asyncio.run(run())


@pytest.fixture
def rest(running: Site, monkeypatch: pytest.MonkeyPatch) -> Rest:
    monkeypatch.setattr(calls, "_pause", lambda state: 0.0)
    running.asked.clear()
    running.pages = {"/db/password": (200, b"hunter2")}
    return Rest(running)


def test_the_whole_answer_is_the_secret(rest: Rest) -> None:
    found = rest.get(access=rest.access(cache_timeout_seconds=30))
    assert (found.secret.reveal(), found.keep_seconds) == (b"hunter2", 30)


def test_a_member_of_an_object_is_the_secret(rest: Rest) -> None:
    rest.site.pages["/db/password"] = (200, b'{"value":"AAE=","other":1}')
    assert rest.get(key="value", encoding=SecretEncoding.BASE64).secret.reveal() == b"\x00\x01"


@pytest.mark.parametrize(
    "body", [b"hunter2", b"[]", b"\xff", b'{"other":1}', b"[" * 60_000], ids=lambda body: repr(body[:12])
)
def test_an_answer_without_the_member_is_refused(rest: Rest, body: bytes) -> None:
    rest.site.pages["/db/password"] = (200, body)
    with pytest.raises(NotAsExpected):
        rest.get(key="value")


def test_bytes_that_are_no_text_are_a_secret_too(rest: Rest) -> None:
    rest.site.pages["/db/password"] = (200, bytes(range(256)))
    assert rest.get().secret.reveal() == bytes(range(256))


def test_a_header_has_the_credential(rest: Rest) -> None:
    rest.get(access=rest.access(HeaderAuthentication("authorization", clear("t-1"), "Bearer ")))
    assert rest.site.headers["authorization"] == "Bearer t-1"


def test_basic_authentication_is_that_of_rfc_7617(rest: Rest) -> None:
    rest.get(access=rest.access(BasicAuthentication("aladdin", clear("öpen: sesame"))))
    assert (
        rest.site.headers["authorization"] == "Basic " + b64encode("aladdin:öpen: sesame".encode()).decode()
    )


def test_a_parameter_has_the_credential_and_no_log_does(rest: Rest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rest.site.pages["/db/password?key=a%26b%3D%C3%A9"] = (200, b"hunter2")
    assert rest.get(access=rest.access(QueryAuthentication("key", clear("a&b=é")))).secret.reveal()
    assert "C3" not in caplog.text


def test_the_path_follows_that_of_the_endpoint(rest: Rest) -> None:
    rest.site.pages["/api/v2/db/password"] = (200, b"x")
    assert rest.get(access=rest.access(endpoint=f"{rest.site.url}/api/v2")).secret.reveal() == b"x"


@pytest.mark.parametrize("value", ["a\r\nhost: elsewhere", "é", "a\x00"])
def test_a_credential_that_a_header_cannot_have_is_not_sent(rest: Rest, value: str) -> None:
    with pytest.raises(LoginRefused):
        rest.get(access=rest.access(HeaderAuthentication("x-api-key", clear(value))))
    assert rest.site.asked == []


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [
        (401, LoginRefused, 1),
        (404, NotThere, 1),
        (302, Redirected, 1),
        (307, Redirected, 1),
        (429, ServerLimits, 4),
        (500, ServerFailed, 4),
    ],
)
def test_what_is_no_plain_answer_is_a_failure(
    rest: Rest, status: int, kind: type[ExternalFailed], asked: int
) -> None:
    rest.site.pages["/db/password"] = (status, b"hunter2")
    with pytest.raises(kind) as caught:
        rest.get()
    assert rest.site.asked == ["/db/password"] * asked
    assert "hunter2" not in str(caught.value)


def test_more_than_is_allowed_is_not_taken(rest: Rest) -> None:
    access = rest.access(max_secret_bytes=10)
    for size in (11, 200_000):
        rest.site.pages["/db/password"] = (200, bytes(size))
        with pytest.raises(TooLarge):
            rest.get(access=access)


def test_a_server_that_is_not_verified_gets_no_credential(rest: Rest) -> None:
    with pytest.raises(NotVerified):
        rest.get(access=rest.access(tls=AccessTls()))
    with pytest.raises(NotVerified):
        rest.get(access=rest.access(tls=AccessTls(rest.site.ca_pem, "other.test")))
    assert rest.site.asked == []


def test_nothing_that_listens_is_unreachable(rest: Rest) -> None:
    with pytest.raises(Unreachable):
        rest.get(access=rest.access(endpoint="https://localhost:1"))
