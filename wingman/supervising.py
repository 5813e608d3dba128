"""Wingman as the parent of a program (`wingman exec`), and Wingman that writes files once."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import tenacity

from blindfold.secret import SecretBytes
from kms.client.open_files import allow_open_files
from kms.errors import ConfigError
from kms.model.secret_type import SecretType
from wingman.configuration import Configuration
from wingman.errors import FileNotWritten
from wingman.http.listening import OPEN_FILES
from wingman.pauses import growing, reported
from wingman.secret_source import nobody_there
from wingman.serving import Served, Wingman, serve_as

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (*ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)


async def write_once(configuration: Configuration) -> None:
    """Write all files, and be done; readers are not told. While nobody is there it is tried again.

    What is in the files is to outlive this process: leases of vaults are not revoked once all is written.
    Raises `ConfigError` where there is nothing to write, as `FileKeeper.refresh`, and as enrolment.
    """
    if configuration.files is None:
        raise ConfigError("the configuration has no files to write")
    wingman = Wingman(replace(configuration, files=replace(configuration.files, on_change=None)))
    await patiently("become an identity", lambda: _identified(wingman, configuration.directory))
    connected = asyncio.create_task(wingman.stay_connected())
    is_written = False
    try:
        if wingman.files is not None:
            await patiently("write the files", wingman.files.refresh)
        is_written = True
    finally:
        connected.cancel()
        await asyncio.gather(connected, return_exceptions=True)
        await wingman.close(revoke=not is_written)


async def _identified(wingman: Wingman, directory: Path) -> None:
    try:
        await wingman.identity.look()
    except OSError as error:
        problem = error.strerror or type(error).__name__
    else:
        return
    raise ConfigError(f"{directory}: {problem}")


async def patiently(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` gives, asked again and again while nobody is there. Raises what else it raises."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_passes),
        wait=growing(FIRST_PAUSE, LONGEST_PAUSE),
        before_sleep=reported(what),
    )
    async for attempt in retrying:
        with attempt:
            answer = await ask()
    return answer


def _passes(error: BaseException) -> bool:
    """Whether others have to do something about it, who are likely to. A disk that is full stays so."""
    return isinstance(error, Exception) and nobody_there(error) and not isinstance(error, FileNotWritten)


class Supervisor:
    """Runs a program beside a Wingman that serves. For one event loop, and once."""

    def __init__(self, configuration: Configuration, arguments: Sequence[str]) -> None:
        """`arguments` are the program and its arguments. Raises `ConfigError`."""
        self._configuration = configuration
        self._arguments = arguments
        self._program: asyncio.subprocess.Process | None = None
        self._asked_to_end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._wingman = Wingman(configuration, self.pass_on)

    async def run(self) -> int:
        """The status to end with: the program's own, or 128 and the number of the signal that ended it.

        The program is started once all its secrets are there, and gets the signals that come from then on.
        Raises `ConfigError` for a program that cannot be started, and as `SecretSource.get`.
        """
        loop = asyncio.get_running_loop()
        for number in PASSED_ON:
            loop.add_signal_handler(number, self.pass_on, number)
        allow_open_files(OPEN_FILES)
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_as(self._wingman, stop, self._configuration, _say_nothing))
        running = asyncio.create_task(self._start_and_wait())
        try:
            ends: list[asyncio.Future[Any]] = [serving, running, self._asked_to_end]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await self._end(running)
                await serving
            return self._asked_to_end.result() if self._asked_to_end.done() else await running
        finally:
            stop.set()
            running.cancel()
            self._asked_to_end.cancel()
            await asyncio.gather(serving, running, return_exceptions=True)

    def pass_on(self, number: signal.Signals) -> None:
        """To the program; before there is one, what asks Wingman to end does so."""
        if self._program is not None:
            with suppress(ProcessLookupError):
                self._program.send_signal(number)
        elif number in ENDING and not self._asked_to_end.done():
            self._asked_to_end.set_result(128 + number)

    async def _start_and_wait(self) -> int:
        if self._wingman.files is not None:
            await self._wingman.files.complete.wait()
        program = self._configuration.program
        named = self._configuration.secrets
        opened = {name: await self._secret(named[name]) for name in sorted(program.secrets)}
        with ExitStack() as descriptors:
            variables, inherited = program.variables(opened, descriptors)
            self._program = await self._spawn({**os.environ, **variables}, inherited)
        status = await self._program.wait()
        return status if status >= 0 else 128 - status

    async def _secret(self, reference: SecretType) -> SecretBytes:
        opened = await patiently("open a secret", lambda: self._wingman.source.get(reference))
        return opened.secret

    async def _spawn(
        self, environment: Mapping[str, str], inherited: tuple[int, ...]
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(*self._arguments, env=environment, pass_fds=inherited)
        except OSError as error:
            problem = error.strerror or type(error).__name__
        raise ConfigError(f"{self._arguments[0]}: {problem}")

    async def _end(self, running: "asyncio.Task[int]") -> None:
        """The program does not go on without what it was to be served with."""
        if self._program is not None:
            self.pass_on(signal.SIGTERM)
            await asyncio.wait({running})


def _say_nothing(served: Served) -> None:
    """Where it listens is in the configuration, and standard output is the program's."""
