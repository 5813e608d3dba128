"""A way to the KMS that can be cut: connections go through while it is open."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Listens on `port`, which stays the same.

    `cut` ends all connections, `mend` lets new ones through. While it is frozen, nothing goes through, and
    nobody is told.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = True
        self._flows = threading.Event()
        self._flows.set()
        self._pairs: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def freeze(self) -> None:
        self._flows.clear()

    def cut(self) -> None:
        self._open = False
        self._flows.set()
        for end in self._pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._open = True
        self._flows.set()

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        pumps: list[threading.Thread] = []
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                break
            if not self._open:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._pairs += [near, far]
            for one, other in ((near, far), (far, near)):
                pumps.append(threading.Thread(target=_pump, args=(one, other, self._flows)))
                pumps[-1].start()
        for pump in pumps:
            pump.join()
        for end in self._pairs:
            end.close()


def _pump(source: socket.socket, sink: socket.socket, flows: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            flows.wait()
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    started = Relay(target)
    try:
        yield started
    finally:
        started.close()
