"""A client of either kind, called in the same way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kms.client.client import AsyncKmsClient, KmsClient


class Waiting:
    """An asyncio client whose methods are waited for."""

    def __init__(self, runner: asyncio.Runner, client: AsyncKmsClient) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@contextmanager
def sync_client(*args: Any, **kwargs: Any) -> Iterator[Any]:
    with KmsClient(*args, **kwargs) as client:
        yield client


@contextmanager
def async_client(*args: Any, **kwargs: Any) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        client = AsyncKmsClient(*args, **kwargs)
        yield Waiting(runner, client)
        runner.run(client.close())


KINDS = {"sync": sync_client, "async": async_client}
