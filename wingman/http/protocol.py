"""Connections: whose they are, and how long they may take to say what they want."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 5.0

_UCRED = struct.Struct("3i")

_log = logging.getLogger(__name__)


class WatchedProtocol(H11Protocol):
    """HTTP/1.1. Ends connections to a unix socket of other users, and those that keep it waiting.

    A request's headers must end within `HEADER_SECONDS`, and so must a body that is answered unread. Other
    bodies have a limit of their own (`wingman.http.bodies`).

    `uids` are the users who may come; None on a listener that cannot tell.
    """

    def __init__(self, *, uids: frozenset[int] | None, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._uids = uids
        self._awaited = ""
        self._hurry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._uids is not None:
            uid = peer_uid(transport.get_extra_info("socket"))
            if uid not in self._uids:
                _log.warning("a program of user %d was sent away", uid)
                transport.abort()
                return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        awaited = "" if self.transport.is_closing() else self._await()
        if awaited != self._awaited:
            self._stop_watching()
            self._awaited = awaited
            if awaited:
                self._hurry = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def _await(self) -> str:
        """What the other side must not be slow with, or "". Between requests uvicorn's own limit holds."""
        if self.conn.their_state is h11.IDLE:
            return "headers" if self.timeout_keep_alive_task is None else ""
        is_answered = self.cycle is not None and self.cycle.response_complete
        return "the rest" if is_answered and self.conn.their_state is h11.SEND_BODY else ""

    def _stop_watching(self) -> None:
        self._awaited = ""
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None

    def _hang_up(self) -> None:
        self._hurry = None
        self.transport.abort()


def peer_uid(connection: socket.socket) -> int:
    """The user on the other side of a unix socket, when it connected (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(credentials)
    return int(uid)


def watched(uids: frozenset[int] | None) -> Callable[..., WatchedProtocol]:
    """What uvicorn makes a connection with."""
    return lambda **uvicorns: WatchedProtocol(uids=uids, **uvicorns)
