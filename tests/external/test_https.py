"""Reading documents: from allowed hosts, over TLS, bounded, and never where a redirect leads."""

import asyncio
import socket
import ssl
from collections.abc import Iterator

import pytest
from external.https_site import Site, https_site

from kms.errors import Unavailable
from kms.external.https import MAX_DOCUMENT, HttpsReader

HOSTS = ("localhost",)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with https_site(tmp_path_factory.mktemp("site")) as started:
        yield started


def read(site: Site, path: str, **how: object) -> bytes:
    return asyncio.run(HttpsReader(HOSTS, site.context)(site.url + path))


@pytest.mark.parametrize("body", [b"", b"{}", bytes(MAX_DOCUMENT)], ids=len)
def test_document_is_read(site: Site, body: bytes) -> None:
    site.pages["/doc?x=1"] = (200, body)
    assert read(site, "/doc?x=1") == body


def test_longer_document_is_refused(site: Site) -> None:
    site.pages["/long"] = (200, bytes(MAX_DOCUMENT + 1))
    with pytest.raises(Unavailable, match="more than 65536 bytes"):
        read(site, "/long")


@pytest.mark.parametrize("status", [201, 301, 302, 307, 308, 404, 500])
def test_anything_but_a_plain_answer_is_refused_and_no_redirect_followed(site: Site, status: int) -> None:
    site.pages |= {"/doc": (status, b"{}"), "/elsewhere": (200, b"{}")}
    site.asked.clear()
    with pytest.raises(Unavailable, match=f"answers {status}"):
        read(site, "/doc")
    assert site.asked == ["/doc"]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "https://127.0.0.1/",
        "https://localhost.evil.test/",
        "file:///etc/passwd",
        "",
        "x:[",
    ],
)
def test_other_hosts_and_schemes_are_never_asked(site: Site, url: str) -> None:
    with pytest.raises(Unavailable):
        asyncio.run(HttpsReader(HOSTS, site.context)(url))


def test_server_that_is_not_verified_is_not_asked(site: Site) -> None:
    site.asked.clear()
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):
        asyncio.run(HttpsReader(HOSTS, ssl.create_default_context())(f"{site.url}/doc"))
    assert site.asked == []


def test_nothing_that_listens_is_unavailable() -> None:
    reader = HttpsReader(HOSTS, ssl.create_default_context())
    with pytest.raises(Unavailable, match="cannot be read"):
        asyncio.run(reader("https://localhost:1/"))


@pytest.mark.parametrize("path", ["é", "a b", "\x00"])
def test_path_that_cannot_be_asked_for_is_unavailable(site: Site, path: str) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        asyncio.run(HttpsReader(HOSTS, site.context)(f"{site.url}/{path}"))


def test_server_that_never_answers_is_given_up() -> None:
    reader = HttpsReader(HOSTS, ssl.create_default_context(), seconds=0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable, match="TimeoutError"):
        asyncio.run(reader(f"https://localhost:{silent.getsockname()[1]}/"))
