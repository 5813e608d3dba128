"""`kms init` and `kms recover`: what is made, what is said, what is refused."""

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import kms
from cli.exit_codes import ExitCode
from kms.audit.authenticated_store import open_store
from kms.client.credentials import read_credentials
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

ADMIN = "tenants/acme/namespaces/system/identities/admin"


def call(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(kms.program, [str(item) for item in arguments], input=stdin)


def init(path: Path, *arguments: object, **how: Any) -> Result:
    return call("init", "--data", path / "kms", "--tenant", "acme", *arguments, **how)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made")
    assert init(path).exit_code == 0
    return path


def test_init_prints_what_is_to_be_kept_and_warns_of_a_keyfile(tmp_path: Path) -> None:
    result = init(tmp_path, "--json")
    shown = json.loads(result.stdout)
    assert result.exit_code == 0
    assert shown["documents_root"].startswith("sha256:")
    assert shown["identity_root"].startswith("sha256:")
    assert len(bytes.fromhex(shown["audit_key"])) == 32
    assert "warning: The root of trust is the file" in result.stderr
    assert f"move {shown['identity_root_file']} to a place that is offline" in result.stderr
    assert f"--trust-key {shown['documents_root']}" in result.stderr


def test_init_for_a_person_names_the_same_things(tmp_path: Path) -> None:
    result = init(tmp_path)
    assert "documents root        sha256:" in result.stdout
    assert "admin credentials" in result.stdout


def test_credentials_of_operator_and_administrator_are_private(made: Path) -> None:
    for name, identity in (("operator", "operator/root"), ("acme-admin", "tenant/acme/ns/system/sa/admin")):
        directory = made / "kms" / "credentials" / name
        assert read_credentials(directory).spiffe_id == f"spiffe://kms.internal/{identity}"
        assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600


def test_checkpoint_is_kept_beside_the_directory_and_not_in_it(made: Path) -> None:
    settings = tomllib.loads((made / "kms" / "kms.toml").read_text())
    assert Path(settings["checkpoint_file"]) == made / "kms-checkpoint" / "checkpoint.json"
    assert Path(settings["checkpoint_file"]).is_file()


def test_names_and_addresses_come_on_top_of_the_local_ones(tmp_path: Path) -> None:
    more = ("--listen", "192.0.2.7:1", "--dns-name", "kms.example.com", "--address", "192.0.2.8")
    assert init(tmp_path, *more, "--enrolment-listen", "0.0.0.0:2").exit_code == 0
    settings = tomllib.loads((tmp_path / "kms" / "kms.toml").read_text())
    assert settings["dns_names"] == ["localhost", "kms.example.com"]
    assert settings["addresses"] == ["127.0.0.1", "192.0.2.7", "192.0.2.8"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--listen", "nowhere"], ExitCode.FAILED, "listen has the form host:port"),
        (["--tenant", "No"], ExitCode.USAGE, "must match"),
        (["--trust-domain", "No!"], ExitCode.USAGE, "not a lower-case DNS name"),
        (["--dns-name", "*.example.com"], ExitCode.FAILED, "not a lower-case DNS name"),
        (["--root-of-trust", "passphrase"], ExitCode.USAGE, "needs its passphrase"),
    ],
)
def test_init_refuses_and_leaves_no_store(
    tmp_path: Path, arguments: list[str], code: ExitCode, message: str
) -> None:
    result = init(tmp_path, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert not list(tmp_path.glob("kms/*"))


def test_init_refuses_a_directory_that_is_not_empty(made: Path) -> None:
    before = (made / "kms" / "kms.toml").read_bytes()
    result = init(made)
    assert (result.exit_code, result.stdout) == (ExitCode.FAILED, "")
    assert "is not empty" in result.stderr
    assert (made / "kms" / "kms.toml").read_bytes() == before


def test_recover_issues_credentials_to_a_known_identity(made: Path, tmp_path: Path) -> None:
    arguments = ("recover", "--data", made / "kms", "--identity", ADMIN, "--out", tmp_path / "credentials")
    result = call(*arguments, "--json")
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["identity"]) == (0, ADMIN)
    assert "tenant-admin" in shown["roles"]
    spiffe_id = read_credentials(tmp_path / "credentials").spiffe_id
    assert spiffe_id == "spiffe://kms.internal/tenant/acme/ns/system/sa/admin"


@pytest.mark.parametrize(
    ("identity", "code"), [("operators/nobody", ExitCode.MISMATCH), ("nobody", ExitCode.USAGE)]
)
def test_recover_refuses_an_identity_it_does_not_know(
    made: Path, tmp_path: Path, identity: str, code: ExitCode
) -> None:
    result = call("recover", "--data", made / "kms", "--identity", identity, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (code, "")
    assert not (tmp_path / "out").exists()


def test_recover_refuses_while_the_store_is_held(made: Path, tmp_path: Path) -> None:
    settings = Settings(CheckpointFile(made / "kms-checkpoint" / "checkpoint.json"))
    vault = open_store(made / "kms" / "store.sqlite", settings, Keyfile(made / "kms" / "root.key"))
    try:
        result = call("recover", "--data", made / "kms", "--identity", ADMIN, "--out", tmp_path / "out")
    finally:
        vault.close()
    assert (result.exit_code, result.stdout) == (ExitCode.FAILED, "")
    assert not (tmp_path / "out").exists()


def test_command_of_the_server_says_where_nothing_was_made(tmp_path: Path) -> None:
    result = call("recover", "--data", tmp_path, "--identity", ADMIN, "--out", tmp_path / "out")
    assert result.exit_code == ExitCode.FAILED
    assert "run `kms init` first" in result.stderr


@pytest.mark.slow
def test_passphrase_protects_what_init_makes(tmp_path: Path) -> None:
    root = ("--root-of-trust", "passphrase", "--passphrase-file", "-")
    assert init(tmp_path, *root, stdin=b"correct horse battery\n").exit_code == 0
    recover = ("recover", "--data", tmp_path / "kms", "--identity", ADMIN, "--out", tmp_path / "out")
    wrong = call(*recover, "--passphrase-file", "-", stdin=b"wrong horse battery\n")
    assert (wrong.exit_code, wrong.stdout) == (ExitCode.USAGE, "")
    assert "horse" not in wrong.stderr
    assert call(*recover, "--passphrase-file", "-", stdin=b"correct horse battery\n").exit_code == 0
