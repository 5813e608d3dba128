"""A whole KMS for the client to call."""

from collections.abc import Iterator

import pytest
from client.local_kms import KEY, LocalKms
from server.kms_harness import RunningKms, running_kms

from kms.client.envelope_cipher import EnvelopeCipher


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKms]:
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        started.add_key()
        yield started


@pytest.fixture
def local() -> LocalKms:
    return LocalKms()


@pytest.fixture
def cipher(local: LocalKms) -> Iterator[EnvelopeCipher]:
    with EnvelopeCipher(local, KEY) as cipher:
        yield cipher
