"""Telling whoever reads the files that they have changed."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from wingman.errors import ReaderNotTold
from wingman.files.plan import SIGNALS, OnChange

COMMAND_SECONDS = 60.0

# Raises `ReaderNotTold`.
Tell = Callable[[], Awaitable[None]]


def teller(how: OnChange | None, to_program: Callable[[signal.Signals], None] | None = None) -> Tell:
    """`to_program` sends a signal to the program that Wingman has started, if it has."""

    async def tell() -> None:
        if how is None:
            return
        if how.command:
            await run(how.command)
        elif how.pid_file:
            send(SIGNALS[how.signal], Path(how.pid_file))
        elif to_program is not None:
            to_program(SIGNALS[how.signal])
        else:
            raise ReaderNotTold("on_change has a signal and no pid_file, and Wingman has started no program")

    return tell


async def run(command: tuple[str, ...], seconds: float = COMMAND_SECONDS) -> None:
    """Its output goes to standard error. Raises `ReaderNotTold` where it does not end well, and in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=2, start_new_session=True
        )
    except OSError as error:
        raise ReaderNotTold(f"{command[0]}: {error.strerror or 'cannot be run'}") from None
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        raise ReaderNotTold(f"{command[0]} has not ended after {seconds:.0f} seconds") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        raise ReaderNotTold(f"{command[0]} ended with {status}")


def send(number: signal.Signals, pid_file: Path) -> None:
    """Raises `ReaderNotTold`."""
    try:
        text = pid_file.read_text(encoding="ascii").strip()
        # 0, 1 and negative numbers are groups of processes, or the first one.
        pid = int(text) if text.isdecimal() else 0
        if pid <= 1:
            raise ReaderNotTold(f"{pid_file} holds no process id")
        os.kill(pid, number)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "holds no process id"
    else:
        return
    raise ReaderNotTold(f"{pid_file}: {problem}")
