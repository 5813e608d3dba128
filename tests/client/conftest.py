"""A whole KMS for the client to call."""

from collections.abc import Iterator

import pytest
from server.kms_harness import RunningKms, running_kms


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKms]:
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        started.add_key()
        yield started
