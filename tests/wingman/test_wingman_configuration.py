"""The configuration: what it takes, and how it names what it does not."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import wingman
from kms.errors import InvalidField
from wingman.configuration import SOCKET, parse_configuration

LEAST = {"server": "kms.example:7443", "credentials": "/var/lib/wingman/credentials"}
ROOT = "sha256:" + "0a" * 32
JWT = {"jwt_file": "/t", "jwt_issuer": "tenants/acme/jwtIssuers/cluster", "identity_root": ROOT}


def test_least_configuration_has_a_socket_and_no_port() -> None:
    configuration = parse_configuration(LEAST)
    assert (configuration.socket, configuration.listen, configuration.uids) == (SOCKET, "", ())


def test_fingerprint_is_bytes() -> None:
    enrolment = parse_configuration(LEAST | {"enrolment": {"server": "a:1", **JWT}}).enrolment
    assert enrolment is not None
    assert enrolment.root_fingerprint == b"\x0a" * 32


CASES: list[tuple[Any, str]] = [
    ([], ""),
    ({}, "server"),
    ({"server": "kms:1"}, "credentials"),
    (LEAST | {"server": "kms.example"}, "server"),
    (LEAST | {"server": "kms.example:70000"}, "server"),
    (LEAST | {"server": "kms.example:٣"}, "server"),
    (LEAST | {"server": 7443}, "server"),
    (LEAST | {"credentials": "relative"}, "credentials"),
    (LEAST | {"socket": ""}, "socket"),
    (LEAST | {"socket": "/" + "x" * 100}, "socket"),
    (LEAST | {"uids": ["root"]}, "uids[0]"),
    (LEAST | {"uids": [-1]}, "uids"),
    (LEAST | {"listen": "0.0.0.0:8070"}, "listen"),
    (LEAST | {"listen": "localhost:8070"}, "listen"),
    (LEAST | {"listen": "[::]:8070"}, "listen"),
    (LEAST | {"listen": "8070"}, "listen"),
    (LEAST | {"max_keep_seconds": -1}, "max_keep_seconds"),
    (LEAST | {"max_keep_seconds": True}, "max_keep_seconds"),
    (LEAST | {"local_keys": ["box"]}, "local_keys[0]"),
    (LEAST | {"local_key_seconds": 59}, "local_key_seconds"),
    (LEAST | {"tls": "off"}, ""),
    (LEAST | {"enrolment": {}}, "enrolment.server"),
    (LEAST | {"enrolment": {"server": "a:1"}}, "enrolment"),
    (LEAST | {"enrolment": {"server": "a:1", "join_token_file": "/t", **JWT}}, "enrolment.join_token_file"),
    (
        LEAST | {"enrolment": {"server": "a:1", **JWT, "identity_root": "sha256:0A"}},
        "enrolment.identity_root",
    ),
    (LEAST | {"enrolment": {"server": "a:1", "join_token_file": "/t", "token": "x"}}, "enrolment"),
]


@pytest.mark.parametrize(("value", "field"), CASES, ids=lambda value: str(value)[-50:])
def test_error_names_the_field(value: Any, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_configuration(value)
    assert caught.value.field.removesuffix(".") == field


def serve(path: Path, text: str, *arguments: str) -> str:
    """What is said of a configuration that is refused."""
    path.write_text(text)
    result = CliRunner().invoke(wingman.program, ["serve", "--config", str(path), *arguments])
    assert result.exit_code == 2
    return result.stderr


@pytest.fixture(autouse=True)
def no_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process stays as it is."""
    monkeypatch.setattr("cli.sidecar.serve.protect_process_memory", lambda: None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: kms:1\ncredentials: /c\nlisten: 1.2.3.4:5\n", "wingman.yaml:3: listen: must be an address"),
        ("server: kms:1\ncredentials: /c\nuids:\n  - 5\n  - -5\n", "wingman.yaml:3: uids: are user ids"),
        ("server: kms:1\nserver: kms:2\n", 'wingman.yaml:2: the key "server" occurs twice'),
        ("server: !!python/object:os.system kms:1\n", "wingman.yaml:1: server: tags are refused"),
        ("- server\n", "wingman.yaml:1: is not an object"),
        (
            '{"server": "kms:1", "credentials": "/c", "listen": 8070}',
            "wingman.yaml: listen: must be a string",
        ),
        ("", "has 0 documents, and one is expected"),
    ],
)
def test_error_names_file_line_and_field(tmp_path: Path, text: str, words: str) -> None:
    assert words in serve(tmp_path / "wingman.yaml", text)


def test_server_and_credentials_are_those_of_the_profile_where_the_file_has_none(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('server = "kms:1"\ncredentials = "relative/is/made/absolute"\n')
    said = serve(tmp_path / "wingman.yaml", json.dumps({"listen": "x"}), "--profile", str(profile))
    assert "listen: has the form host:port" in said


def test_server_that_nobody_names_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("BLINDFOLD_SERVER", raising=False)
    assert "the address of the KMS is not known" in serve(tmp_path / "wingman.yaml", "listen: 127.0.0.1:1\n")
