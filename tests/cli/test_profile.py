"""The profile and what beats it."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.connection import Connection, connection_options
from cli.errors import UsageError
from cli.profile import Profile, default_path, load
from testvectors import material

FULL = f"""
server = "kms.example.com:8443"
enrolment_server = "kms.example.com:8444"
credentials = "credentials"
tenant = "acme"
trust_keys = ["{material.trust()}"]
"""


def test_every_key_is_read_and_paths_begin_at_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(FULL)
    assert load(path, {}) == Profile(
        server="kms.example.com:8443",
        enrolment_server="kms.example.com:8444",
        credentials=tmp_path / "credentials",
        trust_keys=(material.trust(),),
        tenant="acme",
    )


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    profile = Profile.parse('credentials = "~/keys"', tmp_path / "profile.toml")
    assert profile.credentials == Path("/home/ada/keys")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.config/blindfold/profile.toml"),
        ({"HOME": "/home/ada", "XDG_CONFIG_HOME": "/etc/xdg"}, "/etc/xdg/blindfold/profile.toml"),
        ({}, "/.config/blindfold/profile.toml"),
    ],
)
def test_default_place(environment: dict[str, str], expected: str) -> None:
    assert default_path(environment) == Path(expected)


def test_missing_profile_is_empty_only_in_the_default_place(tmp_path: Path) -> None:
    assert load(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == Profile()
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "profile.toml", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trust_key = []", "unknown key 'trust_key'"),
        ("server = 1", "server must be a string"),
        ('trust_keys = "sha256:00"', "trust_keys must be a list"),
        ("trust_keys = [1]", "trust_keys must be a list"),
        ('trust_keys = ["yes"]', "trust_keys: not a fingerprint"),
        (f'trust_keys = ["{material.trust().upper()}"]', "trust_keys: not a fingerprint"),
        ("server = ", "not TOML"),
    ],
)
def test_profile_that_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Profile.parse(text, tmp_path / "profile.toml")


def test_profile_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        load(path, {})


def test_connection_of_the_call_beats_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(FULL)
    assert Connection.resolve(None, None, path) == Connection(
        "kms.example.com:8443", tmp_path / "credentials"
    )
    assert Connection.resolve("other:1", Path("/c"), path) == Connection("other:1", Path("/c"))


@click.command()
@connection_options
def where(server: str | None, credentials: Path | None, profile_path: Path | None) -> None:
    click.echo(Connection.resolve(server, credentials, profile_path).server)


def test_option_beats_variable_beats_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(FULL)
    profile = {"BLINDFOLD_PROFILE": str(path)}
    variable = profile | {"BLINDFOLD_SERVER": "variable:1"}
    run = CliRunner().invoke
    assert run(where, [], env=profile).stdout == "kms.example.com:8443\n"
    assert run(where, [], env=variable).stdout == "variable:1\n"
    assert run(where, ["--server", "option:1"], env=variable).stdout == "option:1\n"


@pytest.mark.parametrize(
    ("server", "credentials", "message"),
    [(None, Path("/c"), "address of the KMS"), ("kms:1", None, "credentials to call")],
)
def test_connection_that_is_not_known_says_how_to_name_it(
    tmp_path: Path, server: str | None, credentials: Path | None, message: str
) -> None:
    path = tmp_path / "profile.toml"
    path.write_text("")
    with pytest.raises(UsageError, match=message) as caught:
        Connection.resolve(server, credentials, path)
    assert "BLINDFOLD_" in caught.value.hint
