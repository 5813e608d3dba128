"""A proxy's certificate is not enough where its address is set."""

import pytest
from proxy.conftest import Site, served
from proxy.test_proxy_listener import list_keys

from kms.client.errors import CallFailed


def test_a_proxy_at_another_address_is_refused(site: Site) -> None:
    with (
        served(site, proxy_addresses=("192.0.2.0/24",)) as kms,
        pytest.raises(CallFailed, match="an address that is not a proxy's"),
    ):
        list_keys(site, kms.proxy, "edge")
