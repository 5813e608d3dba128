"""Callers behind a proxy that ends TLS, on a listener of its own (docs/adr/0013-behind-a-proxy.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from kms.errors import Unauthenticated
from kms.server.call import Call
from kms.server.forwarded import (
    ADDRESS_HEADER,
    ENVOY_HEADER,
    Network,
    client_address,
    forwarded_certificate,
    is_within,
)
from kms.server.interceptors.authentication import Authenticate, peer_certificate
from kms.server.interceptors.call_path import Count
from kms.services.refusals import FORWARDED_HEADER_IGNORED


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """Which proxies are believed, and what they send.

    `identities` are SPIFFE ids. `addresses`, if there are any, are where proxies call from, and also what is
    passed over in `x-forwarded-for`. `header` holds the client's certificate.
    """

    identities: frozenset[str]
    addresses: Sequence[Network] = ()
    header: str = ENVOY_HEADER


class Forwarding:
    """Adds the caller that a proxy speaks for. Both certificates are checked in full at every call."""

    def __init__(self, authenticate: Authenticate, rules: ProxyRules) -> None:
        self._authenticate = authenticate
        self._rules = rules

    def __call__(self, call: Call) -> Call:
        """Raises `Unauthenticated`. A proxy speaks for identities of tenants, never for an operator."""
        proxy = self._authenticate(peer_certificate(call), call.address, call.time)
        if proxy.spiffe_id not in self._rules.identities:
            raise Unauthenticated("this listener is for proxies; connect to the other one")
        if self._rules.addresses and not self._comes_from_a_proxy(call.address):
            raise Unauthenticated("the proxy calls from an address that is not a proxy's")
        certificate = forwarded_certificate(call.metadata, self._rules.header)
        address = client_address(call.metadata, self._rules.addresses)
        caller = self._authenticate(certificate, address, call.time)
        if caller.tenant is None or caller.spiffe_id in self._rules.identities:
            raise Unauthenticated("operators and proxies connect themselves")
        return call._replace(address=address, caller=replace(caller, via=proxy.spiffe_id))

    def _comes_from_a_proxy(self, address: str) -> bool:
        return bool(address) and is_within(ip_address(address), self._rules.addresses)


class UnbelievedHeaders:
    """On a listener that believes no proxy: what looks like a proxy's header is counted, and nothing else."""

    def __init__(self, count: Count, header: str = ENVOY_HEADER) -> None:
        self._count = count
        self._headers = frozenset({ENVOY_HEADER, ADDRESS_HEADER, header})

    def __call__(self, call: Call) -> Call:
        """Never raises."""
        for name, _ in call.metadata:
            if name in self._headers:
                user = call.caller.spiffe_id if call.caller else ""
                self._count(user, call.address, FORWARDED_HEADER_IGNORED)
                break
        return call
