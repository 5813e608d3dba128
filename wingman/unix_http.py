"""The other side of the socket: HTTP to whoever listens at a path."""

import http.client
import socket


class UnixConnection(http.client.HTTPConnection):
    """As `http.client.HTTPConnection`, over the unix socket at `path`. `timeout` in seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Raises `OSError`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self.sock = connection
