"""Listeners: a unix socket of one's own user, and by choice a loopback port."""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from kms.errors import ConfigError
from wingman.configuration import check_address
from wingman.http.door import Door
from wingman.http.protocol import watched

CONNECTIONS = 4096
# Each connection is one, and what a process has besides.
OPEN_FILES = CONNECTIONS + 256
BACKLOG = 1024
IDLE_SECONDS = 30
STOP_SECONDS = 5


class _Server(uvicorn.Server):
    """Without handlers of signals, which are the process's own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listeners:
    """Sockets that are bound, and served until `stop`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._servers: list[tuple[_Server, socket.socket]] = []
        self._paths: list[tuple[Path, int]] = []

    def add_unix(self, path: Path, uids: frozenset[int]) -> None:
        """A socket for programs of those users. Raises `ConfigError`."""
        is_private = uids <= {os.geteuid()}
        bound = bind_unix(path, directory_mode=0o700 if is_private else 0o755)
        if not is_private:
            path.chmod(0o666)
        self._paths.append((path, path.stat().st_ino))
        self._add(bound, uids, checks_host=False)

    def add_tcp(self, listen: str) -> int:
        """The port. Raises `ConfigError` if it is taken."""
        host, port = check_address(listen, "listen")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise ConfigError(f"cannot listen on {listen}: {error.strerror}") from None
        self._add(bound, None, checks_host=True)
        return int(bound.getsockname()[1])

    def _add(self, bound: socket.socket, uids: frozenset[int] | None, *, checks_host: bool) -> None:
        config = uvicorn.Config(
            Door(self._app, checks_host=checks_host),
            http=cast(Any, watched(uids)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._servers.append((_Server(config), bound))

    async def serve(self) -> None:
        """Until `stop`; the sockets are gone then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for server, bound in self._servers:
                    tasks.create_task(server.serve([bound]))
        finally:
            self.close()

    def stop(self) -> None:
        """Requests under way are finished, for some seconds."""
        for server, _ in self._servers:
            server.should_exit = True

    def close(self) -> None:
        """The sockets are gone then; for listeners that do not serve."""
        for _, bound in self._servers:
            bound.close()
        for path, inode in self._paths:
            with suppress(OSError):
                # Another Wingman may have put its own in this place.
                if path.stat().st_ino == inode:
                    path.unlink()


def bind_unix(path: Path, directory_mode: int = 0o700) -> socket.socket:
    """A socket at `path`, mode 0600 from its first moment. What a Wingman left behind that died is replaced.

    A directory that is not there is made.
    Raises `ConfigError` for a path that is something else, or at which somebody listens.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=directory_mode, parents=True, exist_ok=True)
        _check_free(path)
        before = os.umask(0o177)
        try:
            bound.bind(str(fresh))
        finally:
            os.umask(before)
        bound.listen(BACKLOG)
        fresh.replace(path)
    except OSError as error:
        problem = f"{path}: {error.strerror or 'cannot be bound'}"
    except ConfigError as error:
        problem = error.message
    else:
        return bound
    bound.close()
    fresh.unlink(missing_ok=True)
    raise ConfigError(problem)


def _check_free(path: Path) -> None:
    """Raises `ConfigError`, `OSError`."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ConfigError(f"{path} is there and is no socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise ConfigError(f"somebody listens at {path} already")
