"""Opening sealed secrets through the KMS, those that are asked for at the same time together."""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blindfold.envelope import read_header
from blindfold.errors import BlindfoldError, Unsupported
from kms.client.client import KmsClient
from kms.client.documents import KeyDocuments
from kms.client.errors import CallFailed
from kms.client.opening import Opened as OpenedHere
from kms.client.opening import Sealed, open_many
from kms.model.secret_type import BlindfoldSecret
from wingman.errors import NotServedHere
from wingman.kms_connection import RESENDING, KmsConnection
from wingman.secret_source import Found

Result = OpenedHere | BlindfoldError | CallFailed


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    sealed: Sealed
    answer: "asyncio.Future[OpenedHere]"


class SealedSecrets:
    """The opener of `BlindfoldSecret`. `tenant` is that of the identity, "" where it is not known."""

    def __init__(self, connection: KmsConnection, tenant: Callable[[], str]) -> None:
        self._connection = connection
        self._tenant = tenant
        self._waiting: list[_Asked] = []
        self._documents: KeyDocuments | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, secret: BlindfoldSecret) -> Found:
        """Raises `NotServedHere`, and as `kms.client.opening.open_sealed`."""
        sealed = secret.sealed
        check_served(sealed, self._tenant())
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._depart)
        asked = _Asked(Sealed(sealed, secret.expect_name or None), loop.create_future())
        self._waiting.append(asked)
        opened = await asked.answer
        return Found(opened.secret, opened.cache_seconds)

    async def close(self) -> None:
        """What is asked of the KMS is not waited for."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _depart(self) -> None:
        """One journey for all who asked in this turn of the loop."""
        together, self._waiting = self._waiting, []
        task = asyncio.create_task(self._open(together))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, together: Sequence[_Asked]) -> None:
        results: Sequence[Result | Exception]
        try:
            results = await self._connection.run(
                lambda client: self._open_through(client, [asked.sealed for asked in together])
            )
        except Exception as error:
            results = [error] * len(together)
        for asked, result in zip(together, results, strict=True):
            if isinstance(result, CallFailed):
                self._connection.condition.heard(result)
            elif isinstance(result, OpenedHere):
                self._connection.condition.heard(None)
            if asked.answer.done():
                continue
            if isinstance(result, Exception):
                asked.answer.set_exception(result)
            else:
                asked.answer.set_result(result)

    def _open_through(self, client: KmsClient, sealed: Sequence[Sealed]) -> list[Result]:
        """In a worker."""
        if self._documents is None:
            self._documents = KeyDocuments(client.api)
        return open_many(client.api, sealed, keys=self._documents, resending=RESENDING)


def check_served(sealed: bytes, tenant: str) -> None:
    """Raises `NotServedHere`, and `Corrupt` for what is no sealed secret."""
    try:
        header, _, _ = read_header(io.BytesIO(sealed))
    except Unsupported as error:
        problem = str(error)
    else:
        if not tenant or header.lock.tenant == tenant:
            return
        problem = f"the secret is of another tenant than {tenant}"
    raise NotServedHere(problem)
