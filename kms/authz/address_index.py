"""The address predicates of all rules at once: one binary search among the bounds of all prefixes."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

from kms.authz.index import IntervalIndex, Outcome, Placed, union
from kms.model.access_request import AccessRequest

_IPV4_OFFSET = 1 << 128


@lru_cache(maxsize=4096)
def address_point(text: str) -> int | None:
    """The address as a number in which IPv4 lies above IPv6, or None if the text is not an address.

    An IPv4-mapped address (RFC 4291, section 2.5.5.2) is the IPv4 address, however the caller's socket
    shows it: otherwise a DENY rule for an IPv4 prefix would depend on how the server listens.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return _point(address.ipv4_mapped or address)
    return _point(address)


def _point(address: IPv4Address | IPv6Address) -> int:
    return int(address) + (_IPV4_OFFSET if isinstance(address, IPv4Address) else 0)


def prefix_intervals(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The points in the prefixes as disjoint intervals [start, end), in their order."""
    networks = [ip_network(text) for text in texts]
    merged: tuple[IPv4Network | IPv6Network, ...] = (
        *collapse_addresses(item for item in networks if isinstance(item, IPv6Network)),
        *collapse_addresses(item for item in networks if isinstance(item, IPv4Network)),
    )
    for network in merged:
        yield _point(network[0]), _point(network[-1]) + 1


class AddressIndex:
    """`ip_prefixes` of all rules, or with `outside` the rules' `ip_prefixes_except`.

    Without an address neither can be evaluated: to say "not inside" would let a caller slip past a DENY
    rule with `ip_prefixes`, and "outside" would let it through an ALLOW rule with `ip_prefixes_except`.
    """

    def __init__(self, placed: Sequence[Placed[tuple[str, ...]]], *, outside: bool) -> None:
        self._rules = union(placed)
        self._outside = outside
        self._intervals = IntervalIndex(
            (item.bit, start, end) for item in placed for start, end in prefix_intervals(item.value)
        )

    def __call__(self, request: AccessRequest, address: int | None) -> Outcome:
        if address is None:
            return Outcome(0, self._rules)
        inside = self._intervals.at(address)
        return Outcome(self._rules & ~inside if self._outside else inside)
