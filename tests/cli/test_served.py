"""`kms serve` over its life, `kms recover`, and the credentials of callers: expired, renewed, unusable."""

import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from house import ADMIN, NOWHERE, House

from cli.exit_codes import ExitCode
from kms.client.credentials import read_credentials
from kms.identity.grant import Grant
from kms.identity.spiffe import parse_identity_name
from kms.main.configuration import Configuration
from kms.main.initialising import first_credentials
from kms.main.parts import assemble
from kms.main.root_material import Material, open_vault
from kms.services.tenants import ADMIN_ROLES

HOUR = timedelta(hours=1)


def issue(house: House, name: str, age: timedelta) -> Path:
    """Credentials of the administrator, issued some time ago; the server must be stopped."""
    configuration = Configuration.load(house.data)
    material = Material(lambda: pytest.fail("asked for a passphrase"))
    with open_vault(configuration, material) as vault, ThreadPoolExecutor(1) as workers:
        parts = assemble(vault, workers)
        grant = Grant(parse_identity_name(ADMIN), roles=ADMIN_ROLES)
        first_credentials(parts, grant, house.path / name, "Kms.Init", datetime.now(UTC) - age)
    return house.path / name


@pytest.fixture(scope="module")
def cottage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house without keys, whose administrator has credentials of several ages."""
    house = House(tmp_path_factory.mktemp("cottage"))
    house.init()
    for name, age in (("expired", 25), ("due", 20), ("due-too", 20), ("fresh", 1)):
        issue(house, name, age * HOUR)
    with house.served():
        yield house


def test_expired_credentials_are_exit_code_11_and_say_how_to_get_others(cottage: House) -> None:
    ended = cottage.kms("namespace", "list", "--json", who="expired")
    assert (ended.code, ended.out) == (ExitCode.UNAUTHENTICATED, b"")
    assert "expired at" in ended.error["message"]
    assert "kms identity enrol" in ended.error["hint"]
    assert "kms recover" in ended.error["hint"]


def test_credentials_past_two_thirds_of_their_life_renew_themselves(cottage: House) -> None:
    before = read_credentials(cottage.path / "due").validity.not_after
    kept = cottage.kms("namespace", "list", "--no-renew", who="due")
    assert (kept.code, read_credentials(cottage.path / "due").validity.not_after) == (0, before)
    renewed = cottage.kms("namespace", "list", who="due")
    assert (renewed.code, renewed.words) == (0, "")
    assert read_credentials(cottage.path / "due").validity.not_after > before + 19 * HOUR
    assert cottage.kms("namespace", "list", who="due").code == 0


def test_renewal_that_fails_is_a_warning(cottage: House) -> None:
    ended = cottage.kms("namespace", "list", "--server", NOWHERE, who="due-too")
    assert ended.code == ExitCode.UNAVAILABLE
    assert ended.words.startswith("warning: the credentials in ")
    assert "could not be renewed" in ended.words


def test_fresh_credentials_are_renewed_on_demand_only(cottage: House) -> None:
    before = (cottage.path / "fresh" / "cert.pem").read_bytes()
    assert cottage.kms("namespace", "list", who="fresh").code == 0
    assert (cottage.path / "fresh" / "cert.pem").read_bytes() == before
    shown = cottage.must("kms", "identity", "renew", who="fresh")
    assert shown["spiffe_id"] == "spiffe://kms.internal/tenant/acme/ns/system/sa/admin"
    assert (cottage.path / "fresh" / "cert.pem").read_bytes() != before


def test_missing_credentials_say_so(cottage: House) -> None:
    ended = cottage.kms("namespace", "list", who="nobody")
    assert (ended.code, "enrol first" in ended.words) == (ExitCode.FAILED, True)


def test_stranger_with_a_certificate_of_another_kms_is_refused(cottage: House, tmp_path: Path) -> None:
    other = House(tmp_path)
    other.init()
    stranger = tmp_path / "kms" / "credentials" / "acme-admin"
    # It trusts this server, so that the server's refusal is what is seen.
    shutil.copy(cottage.data / "credentials" / "acme-admin" / "ca.pem", stranger)
    ended = cottage.kms("namespace", "list", "--credentials", stranger)
    assert ended.code in (ExitCode.UNAUTHENTICATED, ExitCode.UNAVAILABLE)


def test_server_of_another_authority_is_not_given_the_token(cottage: House, tmp_path: Path) -> None:
    other = House(tmp_path)
    other.init()
    with other.served():
        token = other.kms("identity", "create-token", "system/visitor").out
    ended = cottage.kms("identity", "enrol", "--out", tmp_path / "visitor", stdin=token)
    assert (ended.code, (tmp_path / "visitor").exists()) == (ExitCode.UNAUTHENTICATED, False)
    assert "do not send it the token" in ended.words


def test_second_server_on_the_same_store_is_refused(cottage: House) -> None:
    ended = cottage.process("kms", "serve", "--data", cottage.data)
    assert (ended.code, ended.out) == (ExitCode.FAILED, b"")
    assert "Traceback" not in ended.words


def test_recover_is_refused_while_the_server_runs(cottage: House, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = cottage.kms("recover", "--data", cottage.data, "--identity", ADMIN, "--out", out)
    assert (ended.code, out.exists()) == (ExitCode.FAILED, False)


def test_serve_says_where_nothing_was_made(tmp_path: Path) -> None:
    ended = House(tmp_path).process("kms", "serve", "--data", tmp_path, "--json")
    assert (ended.code, ended.out) == (ExitCode.FAILED, b"")
    assert "run `kms init` first" in ended.error["message"]


@pytest.fixture
def hut(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.init()
    return house


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_stops_when_told_to(hut: House, number: signal.Signals) -> None:
    with hut.served() as process:
        process.send_signal(number)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "warning: The root of trust is the file" in words.decode()
    assert re.search(
        r"^\d{4}-\d\d-\d\dT[\d:.]+Z info kms\.main\.serving: stopping", words.decode(), re.MULTILINE
    )
    assert "Traceback" not in words.decode()


def test_recovered_credentials_are_accepted(hut: House) -> None:
    out = hut.path / "recovered"
    hut.must("kms", "recover", "--data", hut.data, "--identity", ADMIN, "--out", out)
    with hut.served():
        assert hut.must("kms", "namespace", "list", who="recovered")
        events = hut.must("kms", "audit", "list", who="recovered")
    assert "ListNamespaces" in [event["action"] for event in events]


def test_older_store_is_served_only_if_that_is_accepted(hut: House) -> None:
    shutil.copytree(hut.data, hut.path / "backup")
    with hut.served():
        hut.must("kms", "namespace", "create", "prod")
    shutil.rmtree(hut.data)
    (hut.path / "backup").rename(hut.data)
    refused = hut.process("kms", "serve", "--json", "--data", hut.data)
    assert (refused.code, refused.error["reason"]) == (ExitCode.STALE, "STORE_ROLLED_BACK")
    with hut.served("--accept-rollback"):
        names = [item["name"] for item in hut.must("kms", "namespace", "list")]
    assert names == ["tenants/acme/namespaces/system"]


def test_changed_store_is_not_served(hut: House) -> None:
    with sqlite3.connect(hut.data / "store.sqlite") as store:
        store.execute("UPDATE rows SET body = x'7b7d' WHERE kind = 'tenants'")
    store.close()
    ended = hut.process("kms", "serve", "--json", "--data", hut.data)
    assert (ended.code, ended.error["reason"]) == (ExitCode.DAMAGED, "STORE_TAMPERED")


@pytest.mark.slow
def test_passphrase_is_read_and_never_shown(tmp_path: Path) -> None:
    house = House(tmp_path)
    passphrase = house.file("passphrase", b"correct horse battery\n")
    house.init("--root-of-trust", "passphrase", "--passphrase-file", passphrase)
    assert house.made["warning"] == ""
    no_terminal = house.process("kms", "serve", "--data", house.data, input=b"")
    assert (no_terminal.code, "--passphrase-file" in no_terminal.words) == (ExitCode.USAGE, True)
    with house.served("--passphrase-file", passphrase) as process:
        assert house.must("kms", "namespace", "list")
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        out, words = process.communicate(timeout=60)
    assert b"horse" not in command + out + words
