"""One helper process, and the one conversation with it."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from blindfold.errors import Corrupt
from kms.crypto.device.messages import Answer, Operation, Request, Status, parse_answers, receive, send
from kms.model.device_handle import ID_SIZE, DeviceHandle

START_SECONDS = 30.0
GENERATE_SECONDS = 180.0
USE_SECONDS = 30.0
END_SECONDS = 5.0
HELPER = "kms.crypto.device.helper.serving"
LOST = (Status.GONE, Status.PIN_REFUSED)


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """`module` is a PKCS 11 library; `token` the label or the serial number of the token in it.

    `pin_file` holds the user's PIN, on one line, and is for its owner alone.
    """

    module: Path
    token: str
    pin_file: Path


class LaneLost(Exception):
    """The helper is gone or of no more use; the text is for people. `pin_refused`: do not try again."""

    def __init__(self, text: str, *, pin_refused: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.pin_refused = pin_refused


class Lane:
    """Requests one after the other, from one thread at a time. It ends with `close`, or with this process."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", connection: socket.socket, serial: str, label: str
    ) -> None:
        self._process = process
        self._connection = connection
        self.serial = serial
        self.label = label

    @classmethod
    def start(cls, settings: DeviceSettings) -> Self:
        """A helper that is logged in. Raises `LaneLost`.

        A process of its own program: see docs/adr/0002. What it may need of the environment it inherits.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(settings.module), settings.token, str(settings.pin_file), str(theirs.fileno())]
            process = subprocess.Popen(  # noqa: S603 - the program is ours
                [sys.executable, "-P", "-m", HELPER, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        lane = cls(process, ours, "", "")
        try:
            greeting = lane._hear(START_SECONDS)
            if len(greeting) != 2:
                raise LaneLost("the helper's greeting is not understood")
            serial, label = (answer.value for answer in greeting)
            lane.serial, lane.label = _serial(serial), label.decode("utf-8", "replace")
        except BaseException:
            lane.close()
            raise
        return lane

    def ask(self, request: Request) -> Sequence[Answer]:
        """An answer for each item, or one that is not DONE for all. Raises `LaneLost`, and then is closed."""
        seconds = GENERATE_SECONDS if request.operation is Operation.GENERATE else USE_SECONDS
        try:
            self._connection.settimeout(seconds)
            send(self._connection, request.to_bytes())
            return self._hear(seconds)
        except OSError as error:
            lost = LaneLost(f"the helper process is gone ({type(error).__name__})")
        except LaneLost as error:
            lost = error
        self.close()
        raise lost

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End the helper from any thread; who waits for it hears that it was lost."""
        self._process.kill()

    def close(self) -> None:
        """End the helper, whatever it does."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _hear(self, seconds: float) -> Sequence[Answer]:
        self._connection.settimeout(seconds)
        try:
            body = receive(self._connection)
            answers = None if body is None else parse_answers(body)
        except TimeoutError:
            raise LaneLost(f"no answer in {seconds:g} seconds") from None
        except (OSError, Corrupt) as error:
            raise LaneLost(f"the helper process is gone ({type(error).__name__})") from None
        if not answers:
            raise LaneLost(f"the helper process has ended (exit status {self._process.wait(END_SECONDS)})")
        for answer in answers:
            if answer.status in LOST:
                text = answer.value.decode("utf-8", "replace")
                raise LaneLost(text, pin_refused=answer.status is Status.PIN_REFUSED)
        return answers


def _serial(raw: bytes) -> str:
    """A serial number that handles can name. Raises `LaneLost`."""
    serial = raw.decode("ascii", "replace")
    try:
        return DeviceHandle(serial, bytes(ID_SIZE)).serial
    except ValueError:
        pass
    raise LaneLost(f"the token's serial number {serial!r} is empty, or not of letters, digits and . _ -")
