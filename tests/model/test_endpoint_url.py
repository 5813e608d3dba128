"""Endpoints: one spelling of each, https but for loopback addresses, and nothing hidden in them."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField
from kms.model.endpoint_url import EndpointUrl, check_path

ACCEPTED = [
    ("https://vault.corp.example", "vault.corp.example", 443, ""),
    ("https://vault:8200", "vault", 8200, ""),
    ("https://vault.corp.example:8200/team/vault", "vault.corp.example", 8200, "team/vault"),
    ("https://10.0.0.7:8200", "10.0.0.7", 8200, ""),
    ("https://[2001:db8::7]:8200", "2001:db8::7", 8200, ""),
    ("https://127.0.0.1:8200", "127.0.0.1", 8200, ""),
    ("http://127.0.0.1:8200", "127.0.0.1", 8200, ""),
    ("http://[::1]:8200", "::1", 8200, ""),
    ("https://4two.example", "4two.example", 443, ""),
]
REFUSED = [
    "",
    "vault.corp.example",
    "//vault.corp.example",
    "ftp://vault.corp.example",
    "file:///etc/passwd",
    "unix:///run/vault.sock",
    "http://vault.corp.example",
    "http://localhost:8200",
    "http://10.0.0.7",
    "http://[::ffff:10.0.0.1]",
    "https://",
    "https://user@vault.corp.example",
    "https://user:word@vault.corp.example",
    "https://vault.corp.example@evil.example",
    "https://vault.corp.example#x",
    "https://vault.corp.example#@evil.example",
    "https://vault.corp.example?x=y",
    "https://vault.corp.example/?",
    "https://vault.corp.example/",
    "https://vault.corp.example//x",
    "https://vault.corp.example/../x",
    "https://vault.corp.example/x/./y",
    "https://vault.corp.example/%2e%2e/x",
    "https://vault.corp.example\\@evil.example",
    "https://vault.corp.example:443",
    "https://vault.corp.example:",
    "https://vault.corp.example:0",
    "https://vault.corp.example:65536",
    "https://vault.corp.example:08200",
    "https://vault.corp.example.",
    "https://VAULT.corp.example",
    "HTTPS://vault.corp.example",
    "https://vault_1.corp.example",
    "https://-vault.corp.example",
    "https://vault..corp.example",
    "https://127.1",
    "https://0x7f000001",
    "https://0x7f.1",
    "https://2130706433",
    "https://010.0.0.7",
    "https://10.0.0.0x7",
    "https://[fe80::1%25eth0]",
    "https://[2001:DB8::7]",
    "https://[2001:db8:0::7]",
    "https://[::1",
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:7f00:1]",
    "https://0.0.0.0:8200",
    "https://[::]:8200",
    "https://vault.corp.example\n",
    " https://vault.corp.example",
    "https://vault.corp\t.example",
    "https://väult.example",
    "https://v%61ult.example",
    "https://" + "a." * 127 + "example",
    "https://vault.corp.example/" + "x" * 229,
]
PATHS = ["secret", "secret/db/password", "a.b/c-d_e~f/@:+=,", "..x/y..", "x" * 512]
NO_PATHS = [
    *("", "/", "/secret", "secret/", "a//b", ".", "..", "a/../b", "a/.", "../etc/passwd", "x" * 513),
    *("a/%2e%2e/b", "a?b", "a#b", "a\\..\\b", "a b", "a\nb", "a\x00b", "ä", "a;b", "a&b", "a*"),
]


@pytest.mark.parametrize(("text", "host", "port", "path"), ACCEPTED)
def test_an_endpoint_is_read_and_printed_alike(text, host, port, path):
    url = EndpointUrl.parse(text, "endpoint")
    assert (url.host, url.port, url.path) == (host, port, path)
    assert str(url) == text


@pytest.mark.parametrize("text", REFUSED)
def test_any_other_spelling_is_refused_naming_the_field(text):
    with pytest.raises(InvalidField) as caught:
        EndpointUrl.parse(text, "endpoint")
    assert caught.value.field == "endpoint"


@pytest.mark.parametrize(
    ("text", "plain", "loopback"),
    [
        ("http://127.0.0.1", True, True),
        ("http://127.8.8.8", True, True),
        ("https://[::1]", False, True),
        ("https://localhost", False, False),
        ("https://10.0.0.7", False, False),
    ],
)
def test_http_is_for_loopback_addresses(text, plain, loopback):
    url = EndpointUrl.parse(text, "endpoint")
    assert (url.is_plain, url.is_loopback) == (plain, loopback)


texts = st.text(max_size=40) | st.from_regex(
    r"https?://[-a-z0-9.:@\[\]%]{1,20}(:[0-9]{1,6})?(/[-a-z0-9._~%?#@]{0,10}){0,3}", fullmatch=True
)


@given(texts)
def test_what_is_read_is_one_url_to_every_reader(text):
    try:
        url = EndpointUrl.parse(text, "endpoint")
    except InvalidField:
        return
    assert str(url) == text
    parts = urlsplit(text)
    assert (parts.hostname, parts.username, parts.query, parts.fragment) == (url.host, None, "", "")
    assert parts.scheme == "https" or url.is_loopback


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_segments(path):
    assert check_path(path, "path") == path


@pytest.mark.parametrize("path", NO_PATHS)
def test_a_path_leads_nowhere_else(path):
    with pytest.raises(InvalidField):
        check_path(path, "path")
