"""The server's log: one line an event, on standard error."""

import logging
import time
import traceback
from pathlib import Path

from cli.output import printable

OWN = ("blindfold", "cli", "kms", "wingman")


class LineFormatter(logging.Formatter):
    """`2026-01-15T12:00:00.000Z error kms.scheduler: message`.

    Of an exception, its type and place: its text may hold a secret. Of other packages' messages, the first
    line: asyncio repeats exceptions in the others.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name.partition(".")[0] not in OWN:
            message = message.partition("\n")[0]
        line = f"{self.formatTime(record)} {record.levelname.lower()} {record.name}: {printable(message)}"
        return line + _cause(record)


def _cause(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error = record.exc_info[1]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f" ({type(error).__name__}{place})"


def log_to_stderr() -> None:
    """Information and worse of our own packages, warnings and worse of all others."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OWN:
        logging.getLogger(name).setLevel(logging.INFO)
