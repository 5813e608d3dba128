"""The connection to the KMS: made when there is an identity, asked from the event loop, and watched."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import tenacity

from kms.client.client import KmsClient
from kms.client.errors import CallFailed
from kms.client.resending import Resending
from kms.errors import ConfigError
from wingman.condition import Condition
from wingman.configuration import Configuration
from wingman.errors import NotReady
from wingman.pauses import growing

T = TypeVar("T")

WORKERS = 8
# Seconds for a call. A program that is refused for its rate can wait itself, better than a worker.
DEADLINE = 10.0
RESENDING = Resending(deadline=DEADLINE, attempts=2)
# Seconds between two looks at a KMS that answers, times 0.5 to 1.5; and the first and longest pause between
# attempts to reach one that does not.
LOOK_EVERY = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0


class KmsConnection:
    """For one event loop. `jitter` gives numbers from 0 to 1."""

    def __init__(
        self, configuration: Configuration, condition: Condition, jitter: Callable[[], float]
    ) -> None:
        self.condition = condition
        self._configuration = configuration
        self._jitter = jitter
        self._client: KmsClient | None = None
        self._workers = ThreadPoolExecutor(WORKERS, "wingman-kms")

    async def run(self, act: Callable[[KmsClient], T]) -> T:
        """What `act` gives, run in a worker. Raises what it raises, and `NotReady` without an identity."""
        client = self._connected()
        return await asyncio.get_running_loop().run_in_executor(self._workers, act, client)

    async def ask(self, act: Callable[[KmsClient], T]) -> T:
        """As `run`, of one call or several that end as one; the condition hears how."""
        try:
            answer = await self.run(act)
        except CallFailed as failure:
            self.condition.heard(failure)
            raise
        self.condition.heard(None)
        return answer

    async def watch(self) -> None:
        """Look again and again whether the KMS serves, and serves this identity, until cancelled."""
        while True:
            await self._reach()
            await asyncio.sleep(LOOK_EVERY * (0.5 + self._jitter()))

    async def close(self) -> None:
        """Calls under way fail."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _reach(self) -> None:
        """Ends once the KMS has answered."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((CallFailed, NotReady)),
            wait=growing(FIRST_PAUSE, LONGEST_PAUSE),
        )
        async for attempt in retrying:
            with attempt:
                await self._look()

    async def _look(self) -> None:
        """Raises `CallFailed`, `NotReady`."""
        try:
            await self.run(KmsClient.check_health)
        except CallFailed as failure:
            self.condition.heard(failure)
            raise
        self.condition.heard(None)

    def _connected(self) -> KmsClient:
        if self._client is None:
            at = self._configuration
            try:
                self._client = KmsClient(
                    at.server,
                    at.directory,
                    server_name=at.server_name or None,
                    resending=RESENDING,
                    # At each call: what was refused a moment ago is no reason to refuse what replaced it.
                    reload_every=0.0,
                )
            except ConfigError as error:
                problem = error.message
            else:
                return self._client
            raise NotReady(f"there is no identity yet: {problem}")
        return self._client
