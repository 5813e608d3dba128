"""`kms serve` as a process: it starts, stops, survives SIGKILL, and refuses what it must."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kms.audit.authenticated_store import open_store
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.errors import CallFailed
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.errors import SelfTestFailed
from kms.main import serving
from kms.main.configuration import Configuration
from kms.main.initialising import Initialised, initialise
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

KMS = Path(sys.executable).parent / "kms"


@dataclass(frozen=True)
class Place:
    """An initialised KMS."""

    configuration: Configuration
    made: Initialised


@pytest.fixture
def place(tmp_path: Path) -> Place:
    configuration = Configuration(
        directory=tmp_path / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=tmp_path / "outside" / "checkpoint.json",
    )
    return Place(configuration, initialise(configuration, "acme", lambda: None))  # type: ignore[arg-type, return-value]


def start(place: Place, *options: str) -> "subprocess.Popen[bytes]":
    command = [str(KMS), "serve", "--json", "--data", str(place.configuration.directory), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@contextmanager
def served(place: Place, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """The process and its main listener's address; stopped at the end if it still runs."""
    process = start(place, *options)
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield process, json.loads(line)["listen"]
        finally:
            process.terminate()
            process.wait(30)


def refused(place: Place, *options: str) -> str:
    """What a server that does not start says."""
    result = subprocess.run(
        [str(KMS), "serve", "--json", "--data", str(place.configuration.directory), *options],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert result.returncode != 0
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr
    return result.stderr.decode()


def events(place: Place) -> list[str]:
    """The actions in the chain of a stopped server."""
    settings = Settings(CheckpointFile(place.configuration.checkpoint_file))
    vault = open_store(place.configuration.store_path, settings, Keyfile(place.configuration.keyfile_path))
    try:
        return [json.loads(event.body)["action"] for event in vault.store.events(0, 10_000)]
    finally:
        vault.close()


def create_namespace(place: Place, target: str, name: str) -> None:
    with open_channel(target, place.made.admin_credentials) as channel:
        request = {"parent": "tenants/acme", "namespace_id": name}
        Api(channel).call("NamespaceService", "CreateNamespace", request)


def test_the_server_holds_its_secrets_in_locked_memory(place: Place) -> None:
    with served(place) as (process, _):
        status = Path(f"/proc/{process.pid}/status").read_text()
        [locked] = [line.split()[1] for line in status.splitlines() if line.startswith("VmLck:")]
        assert int(locked) > 0


def test_stops_on_sigterm_with_its_last_words_in_the_chain(place: Place) -> None:
    with served(place) as (process, target):
        create_namespace(place, target, "prod")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    actions = events(place)
    assert actions.index("Kms.Start") < actions.index("CreateNamespace") < actions.index("Kms.Stop")
    assert not (place.configuration.directory / "store.sqlite-wal").exists()


def test_acknowledged_changes_survive_sigkill(place: Place) -> None:
    with served(place) as (process, target):
        for number in range(20):
            create_namespace(place, target, f"n{number}")
        process.kill()
        process.wait(20)
    with served(place) as (_, target), open_channel(target, place.made.admin_credentials) as channel:
        listed = Api(channel).call("NamespaceService", "ListNamespaces", {"parent": "tenants/acme"})
    names = {item["name"].rpartition("/")[2] for item in listed["namespaces"]}
    assert names >= {f"n{number}" for number in range(20)}


def test_failed_self_test_keeps_the_store_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise SelfTestFailed("HMAC")

    monkeypatch.setattr(serving, "run_self_test", fail)
    with pytest.raises(SelfTestFailed):
        asyncio.run(serving.serve(place.configuration, lambda: None))  # type: ignore[arg-type, return-value]
    assert "Kms.Start" not in events(place)


def test_second_server_on_one_store_is_refused(place: Place) -> None:
    with served(place) as (_, target):
        assert "CONFIGURATION" in refused(place)
        create_namespace(place, target, "still-served")


def test_rolled_back_store_starts_only_when_that_is_accepted(place: Place) -> None:
    store = place.configuration.store_path
    old = store.read_bytes()
    with served(place) as (_, target):
        create_namespace(place, target, "prod")
    store.write_bytes(old)
    said = refused(place)
    assert "STORE_ROLLED_BACK" in said
    assert "--accept-rollback" in said
    with served(place, "--accept-rollback") as (_, target):
        create_namespace(place, target, "after")
    assert "Kms.AcceptRollback" in events(place)


def test_changed_row_is_not_served(place: Place) -> None:
    store = place.configuration.store_path
    data = store.read_bytes()
    assert data.count(b"tenants/acme/namespaces/system") > 0
    store.write_bytes(data.replace(b"tenants/acme/namespaces/system", b"tenants/acme/namespaces/sYstem"))
    assert "STORE_TAMPERED" in refused(place)


def test_keyfile_that_others_may_read_is_refused(place: Place) -> None:
    place.configuration.keyfile_path.chmod(0o644)
    assert "CONFIGURATION" in refused(place)


def test_taken_port_is_named(place: Place, tmp_path: Path) -> None:
    with served(place) as (_, target):
        other = Configuration(
            directory=tmp_path / "other",
            trust_domain="kms.test",
            root_of_trust="keyfile",
            listen=target,
            enrolment_listen="127.0.0.1:0",
            checkpoint_file=tmp_path / "other-outside" / "checkpoint.json",
        )
        made = initialise(other, "acme", lambda: None)  # type: ignore[arg-type, return-value]
        assert target in refused(Place(other, made))


def test_server_leaves_no_core_and_no_secret_in_its_environment(place: Place) -> None:
    with served(place) as (process, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
        key = place.configuration.keyfile_path.read_bytes().strip()
        for name in ("environ", "cmdline"):
            assert key not in Path(f"/proc/{process.pid}/{name}").read_bytes()


def test_tls_1_2_is_refused_and_1_3_spoken(place: Place) -> None:
    def handshake(option: str, target: str) -> str:
        client = place.made.admin_credentials
        result = subprocess.run(
            ["openssl", "s_client", option, "-connect", target, "-alpn", "h2", "-cert", client / "cert.pem",
             "-key", client / "key.pem", "-CAfile", client / "ca.pem"],
            input=b"", capture_output=True, timeout=20, check=False,
        )  # fmt: skip
        return result.stdout.decode(errors="replace")

    with served(place) as (_, target):
        assert "Cipher is (NONE)" in handshake("-tls1_2", target)
        assert "TLSv1.3, Cipher is TLS_" in handshake("-tls1_3", target)


def test_server_gone_in_the_middle_is_an_error_with_a_next_step(place: Place) -> None:
    with (
        served(place) as (process, target),
        open_channel(target, place.made.admin_credentials) as channel,
    ):
        api = Api(channel, timeout=5)
        api.call("TenantService", "GetTenant", {"name": "tenants/acme"})
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        with pytest.raises(CallFailed) as caught:
            api.call("TenantService", "GetTenant", {"name": "tenants/acme"})
    assert caught.value.hint


def test_server_says_at_its_start_that_its_authority_ends_soon(place: Place, tmp_path: Path) -> None:
    elsewhere = replace(
        place.configuration, directory=tmp_path / "old", checkpoint_file=tmp_path / "old-outside" / "c.json"
    )
    made = initialise(elsewhere, "acme", lambda: None, datetime.now(UTC) - timedelta(days=336))  # type: ignore[arg-type, return-value]
    for at, says in ((Place(elsewhere, made), True), (place, False)):
        with served(at) as (process, _):
            process.terminate()
            _, words = process.communicate(timeout=30)
        assert (b"kms identity-authority prepare" in words) is says
