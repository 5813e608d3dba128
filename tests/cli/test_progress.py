"""Progress: silent for a second, silent off a terminal, and gone at the end."""

import io

import pytest

from cli.progress import Progress, ProgressSource, size_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_short_work_shows_nothing() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(100, stream=stream, clock=clock)
    clock.now = 0.9
    progress.advance(100)
    progress.close()
    assert stream.getvalue() == ""


def test_long_work_shows_its_share_and_takes_it_away() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(4 << 20, stream=stream, clock=clock)
    clock.now = 1.0
    progress.advance(1 << 20)
    assert "[#######" in stream.getvalue()
    assert "25% of 4.0 MiB" in stream.getvalue()
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_work_of_unknown_size_shows_what_is_done() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(None, stream=stream, clock=clock)
    clock.now = 2.0
    progress.advance(1536)
    assert stream.getvalue().endswith("1.5 KiB")


def test_line_is_not_redrawn_for_every_piece() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(None, stream=stream, clock=clock)
    clock.now = 2.0
    for _ in range(100):
        progress.advance(1)
    assert stream.getvalue().count("\r") == 1


def test_work_may_be_counted_in_something_else_than_bytes() -> None:
    progress = Progress(200, text=lambda count: f"{count} cases", stream=io.StringIO())
    progress.advance(50)
    assert progress.line().endswith("25% of 200 cases")


def test_nothing_is_shown_off_a_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(None, stream=stream, clock=clock)
    clock.now = 60.0
    ProgressSource(io.BytesIO(b"data"), progress).read(4)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 40, "1.0 TiB"), (1 << 52, "4096.0 TiB")],
)
def test_size_is_readable(count: int, text: str) -> None:
    assert size_text(count) == text
