"""A client of either kind, called in the same way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kms.client.client import AsyncKmsClient, KmsClient


class Waiting:
    """An asyncio client whose methods are waited for."""

    def __init__(self, runner: asyncio.Runner, client: AsyncKmsClient) -> None:
        self.wait_for = runner.run
        self.inner = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        return lambda *args, **kwargs: self.wait_for(method(*args, **kwargs))


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
