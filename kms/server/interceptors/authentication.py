"""Who calls, by the certificate of the connection, asked at every call: connections outlive certificates."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from kms.errors import Unauthenticated
from kms.model.caller import Caller
from kms.server.call import Call

PEERS = 4096

# (leaf certificate in PEM, IP address, time of the call) -> caller. It runs in the event loop, so it must not
# block. Raises `Unauthenticated` for a certificate that is expired, revoked or of no identity.
Authenticate = Callable[[bytes, str, datetime], Caller]


def require_tls_1_3(call: Call) -> Call:
    """Raises `Unauthenticated` on any other transport. The listeners refuse them before; this proves it."""
    if list(call.transport.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
        raise Unauthenticated("connect with TLS 1.3")
    return call


class Authentication:
    """Adds the caller."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    def __call__(self, call: Call) -> Call:
        """Raises `Unauthenticated`."""
        certificate = peer_certificate(call)
        return call._replace(caller=self._authenticate(certificate, call.address, call.time))


def peer_certificate(call: Call) -> bytes:
    """The leaf that the client presented, in PEM. Raises `Unauthenticated`."""
    certificates = list(call.transport.get("x509_pem_cert", ()))
    if len(certificates) != 1:
        raise Unauthenticated("connect with a client certificate")
    return bytes(certificates[0])


@lru_cache(PEERS)
def peer_address(peer: str) -> str:
    """The IP address of a peer as grpc names it, such as `ipv6:%5B::1%5D:50000`; "" if it has none.

    An IPv4 client of an IPv6 socket is told by its IPv4 address (RFC 4291, section 2.5.5.2); a scope id is
    left out.
    """
    host = unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
