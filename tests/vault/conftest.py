"""The vault of a test: the stand-in, or the real server that the environment names."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from vault.workshop import Workshop, workshop


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as shop:
        yield shop
