from collections.abc import Iterator
from pathlib import Path

import pytest
from store_workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    for store in made.opened:
        store.close()
