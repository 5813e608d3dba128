"""Files that a Wingman writes and keeps, beside a real KMS."""

import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from server.kms_harness import RunningKms
from sidecar import configuration, serving, wait_until

from blindfold.forms import to_location

SECRET = b"correct horse battery staple"
NAMES = {"key": "tls.key", "certificate": "tls.crt", "ca": "ca.crt", "bundle": "tls.pem"}


@pytest.fixture
def own(kms: RunningKms, tmp_path: Path) -> Path:
    """Credentials of web that are this test's alone."""
    directory = tmp_path / "credentials"
    kms.issue(kms._grant("web"), directory)
    return directory


def sealed(kms: RunningKms, secret: bytes = SECRET, **options: Any) -> dict[str, str]:
    return {"type": "blindfold", "location": to_location(kms.seal(secret, **options))}


def told_by(path: Path) -> dict[str, list[str]]:
    return {"command": ["/bin/sh", "-c", f"echo told >> {path}"]}


@contextmanager
def writing(kms: RunningKms, tmp_path: Path, named: dict[str, Any], **files: Any) -> Iterator[Path]:
    """A Wingman of those files, and their directory."""
    plan = {"directory": str(tmp_path / "files"), **files}
    members = {"files": plan} | ({"secrets": named} if named else {})
    if (tmp_path / "credentials").exists():
        members["credentials"] = str(tmp_path / "credentials")
    with serving(configuration(kms, tmp_path, **members)):
        yield tmp_path / "files"


def is_written(path: Path, *names: str) -> bool:
    return all((path / name).exists() for name in names)


def test_secrets_identity_and_templates_are_written(kms: RunningKms, tmp_path: Path) -> None:
    (tmp_path / "app.j2").write_text("password = {{ secrets.password }}\n")
    with writing(
        kms,
        tmp_path,
        {"password": sealed(kms)},
        secrets=["password"],
        identity=NAMES,
        templates={"app.ini": str(tmp_path / "app.j2")},
    ) as files:
        wait_until(lambda: is_written(files, "app.ini"))
    web = kms.credentials("web")
    assert (files / "password").read_bytes() == SECRET
    assert (files / "app.ini").read_bytes() == b"password = " + SECRET + b"\n"
    assert (files / "tls.key").read_bytes() == (web / "key.pem").read_bytes()
    assert (files / "tls.crt").read_bytes() == (web / "cert.pem").read_bytes()
    assert (files / "ca.crt").read_bytes() == (web / "ca.pem").read_bytes()
    ssl.create_default_context().load_cert_chain(files / "tls.pem")
    assert sorted(path.name for path in files.iterdir()) == [
        "app.ini",
        "ca.crt",
        "password",
        "tls.crt",
        "tls.key",
        "tls.pem",
    ]


def test_secret_that_is_refused_keeps_no_other_file_back(kms: RunningKms, tmp_path: Path) -> None:
    secrets = {"password": sealed(kms), "other": {"type": "blindfold", "location": to_location(foreign(kms))}}
    with writing(kms, tmp_path, secrets, secrets=["other", "password"], identity={"key": "tls.key"}) as files:
        wait_until(lambda: is_written(files, "password", "tls.key"))
        assert not (files / "other").exists()


def test_file_keeps_the_secret_that_was_not_swapped(kms: RunningKms, tmp_path: Path) -> None:
    secrets = {
        "password": sealed(kms, name="db") | {"expect_name": "db"},
        "swapped": sealed(kms, name="other") | {"expect_name": "db"},
    }
    with writing(kms, tmp_path, secrets, secrets=["swapped", "password"]) as files:
        wait_until(lambda: is_written(files, "password"))
        assert not (files / "swapped").exists()


def foreign(kms: RunningKms) -> bytes:
    """A sealed file that cannot be opened: its ciphertext is cut short."""
    return kms.seal(SECRET)[:-1]


def test_new_certificate_is_written_and_its_reader_told(kms: RunningKms, tmp_path: Path, own: Path) -> None:
    log = tmp_path / "log"
    with writing(kms, tmp_path, {}, identity=NAMES, on_change=told_by(log)) as files:
        wait_until(lambda: log.exists() and log.read_text() == "told\n")
        kms.issue(kms._grant("web"), own)
        wait_until(lambda: log.read_text() == "told\ntold\n")
        assert (files / "tls.crt").read_bytes() == (own / "cert.pem").read_bytes()
        ssl.create_default_context().load_cert_chain(files / "tls.crt", files / "tls.key")


def test_reader_is_not_told_of_what_was_there_before(kms: RunningKms, tmp_path: Path, own: Path) -> None:
    log, secrets = tmp_path / "log", {"password": sealed(kms)}
    with writing(kms, tmp_path, {}, identity=NAMES, on_change=told_by(log)):
        wait_until(log.exists)
    log.unlink()
    with writing(
        kms, tmp_path, secrets, identity=NAMES, secrets=["password"], on_change=told_by(log)
    ) as files:
        wait_until(lambda: is_written(files, "password") and log.exists())
    log.unlink()
    with writing(
        kms,
        tmp_path,
        secrets,
        identity=NAMES,
        secrets=["password"],
        refresh_seconds=1,
        on_change=told_by(log),
    ):
        evaluated = len(kms.events())
        wait_until(lambda: len(kms.events()) >= evaluated + 2)
    assert not log.exists()


def test_reader_that_could_not_be_told_is_told_again(kms: RunningKms, tmp_path: Path) -> None:
    flag, log = tmp_path / "flag", tmp_path / "log"
    script = f"echo asked >> {log}; test -e {flag}"
    with writing(kms, tmp_path, {}, identity=NAMES, on_change={"command": ["/bin/sh", "-c", script]}):
        wait_until(log.exists)
        flag.touch()
        wait_until(lambda: log.read_text().count("asked") >= 2)


def test_reader_is_told_by_a_signal(kms: RunningKms, tmp_path: Path) -> None:
    program = "import signal; signal.sigwait({signal.SIGHUP})"
    block = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # noqa: E731
    with subprocess.Popen([sys.executable, "-c", program], preexec_fn=block) as reader:
        (tmp_path / "pid").write_text(f"{reader.pid}\n")
        how = {"signal": "HUP", "pid_file": str(tmp_path / "pid")}
        with writing(kms, tmp_path, {}, identity=NAMES, on_change=how):
            assert reader.wait(20) == 0
