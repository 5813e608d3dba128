"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator

import pytest

# Before anything else: grpcio reads its TLS setting when it is first imported, and `kms` makes it.
import kms  # noqa: F401

REQUIRE_ALL = "REQUIRE_ALL_TESTS"


class RequiredTests:
    """Fails a session in which a test skipped that is not marked `optional`."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report = yield
        if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("optional") is None:
            self.skipped.append(item.nodeid)
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in self.skipped:
            terminalreporter.write_line(f"REQUIRED, but skipped: {nodeid}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job begins with SIGINT ignored, and so would all programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get(REQUIRE_ALL):
        config.pluginmanager.register(RequiredTests())
