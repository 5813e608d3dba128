"""The server's log: one line an event, and no text of an exception."""

import logging
import re
import sys

from cli.local.event_log import LineFormatter


def line(name: str, message: str, *, error: Exception | None = None) -> str:
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, (), info)
    record.created, record.msecs = 1768478400.25, 250
    return LineFormatter().format(record)


def test_event_is_one_line_with_its_time_in_utc() -> None:
    assert line("kms.scheduler", "done") == "2026-01-15T12:00:00.250Z error kms.scheduler: done"


def test_exception_is_its_type_and_place_and_not_its_text() -> None:
    text = line("kms.main", "failed", error=ValueError("pa55word"))
    assert re.search(r"kms\.main: failed \(ValueError at test_event_log\.py:\d+\)$", text)


def test_lines_of_others_are_cut_where_they_repeat_exceptions() -> None:
    text = line("asyncio", "Task exception was never retrieved\nfuture: ValueError('pa55word')")
    assert text.endswith("asyncio: Task exception was never retrieved")


def test_event_cannot_forge_another_or_command_the_terminal() -> None:
    text = line("kms.main", "a\n2026 error kms: b \x1b[2J")
    assert "\n" not in text
    assert "\x1b" not in text
