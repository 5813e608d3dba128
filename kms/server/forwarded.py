"""What a proxy that ends TLS says of its client: the certificate, and the addresses that a call came through.

Two forms of the certificate are read: Envoy's `x-forwarded-client-cert`, and nginx's escaped PEM
(`$ssl_client_escaped_cert`) in a header of any other name. Nothing here is believed yet: see
`kms.server.interceptors.forwarding`.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

from kms.errors import Unauthenticated
from kms.server.call import Metadata

ENVOY_HEADER = "x-forwarded-client-cert"
ADDRESS_HEADER = "x-forwarded-for"

Network = IPv4Network | IPv6Network

# A value is quoted if it holds a separator: a subject, which the client chose, may.
_PAIR = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^";,]*)(;|\Z)', re.ASCII)
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/]{1,76}={0,2}\n)+-----END CERTIFICATE-----\n?", re.ASCII
)


def forwarded_certificate(metadata: Metadata, header: str) -> bytes:
    """The leaf certificate in PEM that `header` holds, exactly once. Raises `Unauthenticated`."""
    values = _values(metadata, header)
    if len(values) != 1:
        raise Unauthenticated(f"the proxy must send one {header} header, not {len(values)}")
    text = values[0]
    if header == ENVOY_HEADER:
        text = _envoy_certificate(text)
    try:
        pem = unquote(text, encoding="ascii", errors="strict")
    except UnicodeDecodeError:
        pem = ""
    if not _PEM.fullmatch(pem):
        raise Unauthenticated(f"{header} does not hold one escaped certificate in PEM")
    return pem.encode()


def _envoy_certificate(text: str) -> str:
    """The one Cert of the one element."""
    found, at = [], 0
    while (pair := _PAIR.match(text, at)) is not None and pair.end() > at:
        at = pair.end()
        if pair[1].lower() == "cert":
            found.append(pair[2].strip('"'))
    if at < len(text) or text.endswith(";") or len(found) != 1:
        raise Unauthenticated(
            f"{ENVOY_HEADER} must have one element with one Cert; let the first proxy set it"
        )
    return found[0]


def client_address(metadata: Metadata, proxies: Sequence[Network]) -> str:
    """The address that is last in `x-forwarded-for` and not a proxy's, in text; "" if it is not known.

    Each proxy appends whom it was called by, so everything left of that address is the client's own claim.
    """
    for text in reversed(",".join(_values(metadata, ADDRESS_HEADER)).split(",")):
        address = _address(text.strip(" \t"))
        if address is None:
            return ""
        if not is_within(address, proxies):
            return str(address)
    return ""


def is_within(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _values(metadata: Metadata, header: str) -> list[str]:
    return [value for name, value in metadata if name == header and isinstance(value, str)]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 client of an IPv6 socket is told by its IPv4 address; a scope id is no part of an address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address
