"""What holds for all tests."""

import os
import signal

import pytest

# Before anything else: grpcio reads its TLS setting when it is first imported, and `kms` makes it.
import kms  # noqa: F401

REQUIRE_ALL = "REQUIRE_ALL_TESTS"


class RequiredTests:
    """Fails a session in which a test skipped that is not marked `optional`."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Heard where all reports arrive, whichever process ran the test."""
        is_expected = hasattr(report, "wasxfail") or "optional" in report.keywords
        if report.skipped and not is_expected:
            self.skipped.append(report.nodeid)

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
