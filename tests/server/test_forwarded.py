"""What is read of a proxy's headers, and what is refused: certificates in both forms, and addresses."""

from ipaddress import ip_network
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import Unauthenticated
from kms.server.forwarded import ENVOY_HEADER, client_address, forwarded_certificate

NGINX_HEADER = "x-client-cert"
PEM = f"-----BEGIN CERTIFICATE-----\n{'QUJD' * 16}\nQQ==\n-----END CERTIFICATE-----\n"
ESCAPED = quote(PEM, safe="")
ENVOY = (
    f'By=spiffe://kms.test/x;Hash=00;Cert="{ESCAPED}";Subject="CN=a \\"b\\", O=c;d";URI=spiffe://kms.test/y'
)
PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (NGINX_HEADER, ESCAPED),
        (NGINX_HEADER, quote(PEM)),
        (NGINX_HEADER, ESCAPED.removesuffix("%0A")),
        (ENVOY_HEADER, ENVOY),
        (ENVOY_HEADER, f'Cert="{ESCAPED}"'),
        (ENVOY_HEADER, f"cert={ESCAPED}"),
    ],
)
def test_certificate_is_read_in_both_forms(header: str, value: str) -> None:
    read = forwarded_certificate([("te", "trailers"), (header, value)], header)
    assert read.strip() == PEM.strip().encode()


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (NGINX_HEADER, []),
        (NGINX_HEADER, [""]),
        (NGINX_HEADER, [ESCAPED, ESCAPED]),
        (NGINX_HEADER, [f"{ESCAPED},{ESCAPED}"]),
        (NGINX_HEADER, [ESCAPED + ESCAPED]),
        (NGINX_HEADER, ["x" + ESCAPED]),
        (NGINX_HEADER, [quote(PEM.replace("\n", "\r\n"), safe="")]),
        (NGINX_HEADER, [ESCAPED.replace("QUJD", "%FF")]),
        (NGINX_HEADER, [ESCAPED.replace("QUJD", "%00")]),
        (NGINX_HEADER, [ENVOY]),
        (ENVOY_HEADER, [ESCAPED]),
        (ENVOY_HEADER, ["By=spiffe://kms.test/x;Hash=00"]),
        (ENVOY_HEADER, [f"{ENVOY},{ENVOY}"]),
        (ENVOY_HEADER, [f'Hash=00,Cert="{ESCAPED}"']),
        (ENVOY_HEADER, [f'Cert="{ESCAPED}";Cert="{ESCAPED}"']),
        (ENVOY_HEADER, [f'Cert="{ESCAPED}";cert={ESCAPED}']),
        (ENVOY_HEADER, [f'Cert="{ESCAPED}']),
        (ENVOY_HEADER, [f'Subject="a;Cert={ESCAPED}"']),
        (ENVOY_HEADER, [f'Subject="a\\";Cert={ESCAPED};b="']),
        (ENVOY_HEADER, [f'Subject="";Cert={ESCAPED};']),
        (ENVOY_HEADER, [f'Subject="a"Cert={ESCAPED}']),
    ],
)
def test_anything_but_one_certificate_is_refused(header: str, values: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        forwarded_certificate([(header, value) for value in values], header)


def test_another_header_than_the_configured_one_is_not_read() -> None:
    with pytest.raises(Unauthenticated):
        forwarded_certificate([(ENVOY_HEADER, ENVOY)], NGINX_HEADER)
    assert forwarded_certificate([(ENVOY_HEADER, "junk"), (NGINX_HEADER, ESCAPED)], NGINX_HEADER)


@given(st.text(max_size=300) | st.text(alphabet='Certby=";,\\%20A-', max_size=60))
def test_any_text_is_a_certificate_or_is_refused(text: str) -> None:
    for header in (ENVOY_HEADER, NGINX_HEADER):
        with pytest.raises(Unauthenticated):
            forwarded_certificate([(header, text)], header)


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_a_client_puts_into_its_subject_is_never_the_certificate(before: str, after: str) -> None:
    """Envoy quotes a subject and escapes quotes in it."""
    subject = f"{before};Cert={ESCAPED};{after}".replace("\\", "\\\\").replace('"', '\\"')
    other = quote(PEM.replace("QUJD", "RUZH"), safe="")
    value = f'Subject="{subject}";Cert="{other}"'
    try:
        read = forwarded_certificate([(ENVOY_HEADER, value)], ENVOY_HEADER)
    except Unauthenticated:
        return
    assert b"RUZH" in read


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([], ""),
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 10.0.0.1"], "192.0.2.1"),
        (["192.0.2.1", "10.0.0.1,10.0.0.2"], "192.0.2.1"),
        (["203.0.113.9, 192.0.2.1, 10.0.0.1"], "192.0.2.1"),
        (["junk, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, junk"], ""),
        (["192.0.2.1,"], ""),
        (["10.0.0.1"], ""),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["::ffff:10.0.0.1"], ""),
        (["2001:DB8::1, 2001:db8:1::5"], "2001:db8::1"),
        (["fe80::1%eth0"], ""),
        (["192.0.2.1:443"], ""),
    ],
)
def test_client_is_who_the_outermost_proxy_saw(values: list[str], address: str) -> None:
    assert client_address([("x-forwarded-for", value) for value in values], PROXIES) == address


@given(st.text(max_size=80))
def test_claims_left_of_it_change_nothing(claim: str) -> None:
    claimed = f"{claim}, 192.0.2.1, 10.0.0.1"
    assert client_address([("x-forwarded-for", claimed)], PROXIES) == "192.0.2.1"
