"""The helper's life: one token, one connection, one request after the other, until the server is gone."""

import os
import socket
import struct
import sys
from pathlib import Path

from kms.crypto.device.helper.operations import answer
from kms.crypto.device.helper.token import Refused, Token
from kms.crypto.device.messages import Answer, Request, Status, dump_answers, receive, send
from kms.crypto.private_process import protect_process_memory

_CREDENTIALS = struct.Struct("3i")


def serve(module: str, token: str, pin_file: str, descriptor: str) -> None:
    """Greet with serial number and label, or with why there is nothing to serve; then answer requests.

    `descriptor` is the inherited one of a unix socket.
    """
    protect_process_memory()
    with socket.socket(fileno=int(descriptor)) as connection:
        check_peer(connection)
        try:
            opened = Token(Path(module), token, Path(pin_file))
        except Refused as refused:
            send(connection, dump_answers([Answer(refused.status, refused.text.encode())]))
            return
        greeting = (opened.serial, opened.label.encode())
        send(connection, dump_answers([Answer(Status.DONE, part) for part in greeting]))
        while (body := receive(connection)) is not None:
            send(connection, dump_answers(answer(opened, Request.parse(body))))


def check_peer(connection: socket.socket) -> None:
    """Raise `PermissionError` unless the other side is a process of the same user (`SO_PEERCRED`)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.geteuid():
        raise PermissionError("the other side is another user's")


if __name__ == "__main__":
    serve(*sys.argv[1:])
