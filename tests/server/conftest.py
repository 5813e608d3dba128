"""The applications that tests call, and the credentials to call them with."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server.kms_harness import RunningKms, running_kms
from server_harness import Authority, Options, Running, running, write_credentials


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("the authority of the tests")


@pytest.fixture(scope="session")
def credentials(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    key, certificate = authority.issue("client")
    directory = tmp_path_factory.mktemp("client") / "olga"
    return write_credentials(directory, key, certificate, authority.pem)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Running]:
    """One ordinary application for a whole file; tests set what its GetStatus does."""
    with running(authority, Options()) as started:
        yield started


@pytest.fixture
def serve(authority: Authority) -> Iterator[Callable[..., Running]]:
    """Starts applications that are not ordinary, and stops them after the test."""
    contexts = []

    def start(**options: Any) -> Running:
        context = running(authority, Options(**options))
        contexts.append(context)
        return context.__enter__()

    yield start
    for context in reversed(contexts):
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKms]:
    """A whole KMS for a file: tenant acme has a key version 1 and no policy, globex has nothing."""
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        started.add_key()
        yield started
