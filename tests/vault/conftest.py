"""The vault of a test: the stand-in, or the real server that the environment names."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from server.server_harness import Authority
from vault.stand_in import stand_in
from vault.workshop import Workshop

ADDRESS, TOKEN, CA = "TEST_VAULT_ADDR", "TEST_VAULT_TOKEN", "TEST_VAULT_CACERT"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Workshop]:
    authority = Authority("authority of vaults")
    address = os.environ.get(ADDRESS, "")
    if address:
        file = os.environ.get(CA, "")
        pem = Path(file).read_text() if file else ""
        shop = Workshop(address.rstrip("/"), os.environ[TOKEN], pem, None, authority)
        with shop.later:
            yield shop
        return
    with stand_in(tmp_path, authority) as server:
        shop = Workshop(server.address, server.root, authority.pem.decode(), server, authority)
        with shop.later:
            yield shop
