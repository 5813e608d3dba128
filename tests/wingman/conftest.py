"""A whole KMS, and a Wingman beside it."""

from collections.abc import Iterator

import pytest
from server.kms_harness import RunningKms, running_kms
from sidecar import Sidecar, ready_sidecar


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKms]:
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        started.add_key()
        started.add_policy("web-tls")
        started.add_policy("kept", decrypt_cache_timeout="300s")
        started.loop.run(started.app.set_serving(True))
        yield started


@pytest.fixture(scope="module")
def sidecar(kms: RunningKms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """One that calls itself web, on a socket and on a port."""
    with ready_sidecar(kms, tmp_path_factory.mktemp("wingman"), listen="127.0.0.1:0") as started:
        yield started
