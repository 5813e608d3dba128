"""From an empty directory to an opened secret, with real processes, and how that is refused."""

import base64
import os
import pty
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from desk import ROOT
from house import NOWHERE, SECRET, House

from blindfold.stream import CHUNK
from cli.exit_codes import ExitCode

CHUNKED = os.urandom(3 * CHUNK)


@pytest.fixture(scope="module")
def sealed(house: House) -> Path:
    return house.file("db.sealed", house.seal(house.path / "web-tls.policy", "--name", "db"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def test_workload_that_the_policy_allows_opens_into_a_private_file(
    house: House, sealed: Path, out: Path
) -> None:
    ended = house.blindfold("open", "--expect-name", "db", "--out", out, sealed, who="prod-web")
    assert (ended.code, ended.out, ended.words) == (0, b"", "")
    assert (out.read_bytes(), stat.S_IMODE(out.stat().st_mode)) == (SECRET, 0o600)


@pytest.mark.parametrize("form", ["--text", "--location"])
def test_every_form_is_opened_from_standard_input(house: House, form: str) -> None:
    text = house.seal(house.path / "web-tls.policy", form)
    ended = house.blindfold("decrypt", input=text, who="prod-web")
    assert (ended.code, ended.out) == (0, SECRET)


def test_json_holds_the_secret_and_what_was_authenticated(house: House, sealed: Path) -> None:
    shown = house.must("blindfold", "open", sealed, who="prod-web")
    assert shown.items() >= {"secret": "aHVudGVyMiBodW50ZXIy", "name": "db", "key_version": 1}.items()


@pytest.mark.parametrize("who", ["prod-db", ""])
def test_caller_whom_no_rule_allows_is_denied(house: House, sealed: Path, out: Path, who: str) -> None:
    ended = house.blindfold("open", "--json", "--out", out, sealed, who=who)
    assert (ended.code, ended.out) == (ExitCode.DENIED, b"")
    assert ended.error["reason"] == "DENIED"
    assert "request id" in ended.error["message"]
    assert not out.exists()


def test_changed_secret_is_refused(house: House, sealed: Path, out: Path) -> None:
    data = bytearray(sealed.read_bytes())
    data[-1] ^= 1
    ended = house.blindfold("open", "--out", out, "-", input=bytes(data), who="prod-web")
    assert (ended.code, ended.out) == (ExitCode.DAMAGED, b"")
    assert "does not verify" in ended.words
    assert list(out.parent.iterdir()) == []


def test_other_name_than_expected_is_refused(house: House, sealed: Path, out: Path) -> None:
    ended = house.blindfold("open", "--expect-name", "web", "--out", out, sealed, who="prod-web")
    assert (ended.code, out.exists()) == (ExitCode.MISMATCH, False)


def test_secret_that_is_cut_off_is_not_written_in_part(house: House, out: Path) -> None:
    whole = house.seal(house.path / "web-tls.policy", secret=CHUNKED)
    cut = whole[: -(CHUNK + 16)]
    for destination in (("--out", out), ()):
        ended = house.blindfold("open", *destination, input=cut, who="prod-web")
        assert (ended.code, ended.out) == (ExitCode.DAMAGED, b"")
    assert list(out.parent.iterdir()) == []
    streamed = house.blindfold("open", "--stream", input=cut, who="prod-web")
    assert (streamed.code, streamed.out) == (ExitCode.DAMAGED, CHUNKED[:CHUNK])


def test_full_disk_leaves_nothing_half_written(house: House, out: Path) -> None:
    sealed = house.file("chunked.sealed", house.seal(house.path / "web-tls.policy", secret=CHUNKED))
    ended = house.blindfold(
        *("open", "--out", out, sealed),
        who="prod-web",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert (ended.code, ended.out) == (ExitCode.FAILED, b"")
    assert "File too large" in ended.words
    assert list(out.parent.iterdir()) == []


@pytest.mark.slow
def test_large_secret_needs_a_file_or_a_stream(house: House, out: Path) -> None:
    large = bytes(17 << 20)
    sealed = house.file("large.sealed", house.seal(house.path / "web-tls.policy", secret=large))
    ended = house.blindfold("open", sealed, who="prod-web")
    assert (ended.code, ended.out) == (ExitCode.USAGE, b"")
    assert "--stream" in ended.words
    assert house.blindfold("open", "--stream", sealed, who="prod-web").out == large
    assert house.blindfold("open", "--out", out, sealed, who="prod-web").code == 0
    assert out.read_bytes() == large


@pytest.mark.parametrize(("secret", "code"), [(SECRET, 0), (b"\x1b[2J", 2), (b"\xff\xfe", 2)])
def test_terminal_is_shown_text_and_nothing_that_it_would_obey(
    house: House, secret: bytes, code: int
) -> None:
    sealed = house.file("shown.sealed", house.seal(house.path / "web-tls.policy", secret=secret))
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from cli.blindfold import main; main()", "open", str(sealed)],
            cwd=ROOT, env=house.environment | {"BLINDFOLD_CREDENTIALS": str(house.path / "prod-web")},
            stdout=follower, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
        shown = os.read(leader, 100) if code == 0 else b""
    finally:
        os.close(leader)
        os.close(follower)
    assert (done.returncode, shown) == (code, secret if code == 0 else b"")


def test_server_that_is_gone_is_exit_code_6(house: House, sealed: Path, out: Path) -> None:
    ended = house.blindfold("open", "--json", "--server", NOWHERE, "--out", out, sealed, who="prod-web")
    assert (ended.code, ended.error["exit_code"]) == (ExitCode.UNAVAILABLE, 6)
    assert "try again" in ended.error["hint"]
    assert not out.exists()


def test_missing_input_is_a_usage_error_that_does_not_repeat_it(house: House) -> None:
    ended = house.blindfold("open", "pa55word", who="prod-web")
    assert ended.code == ExitCode.USAGE
    assert "pa55word" not in ended.words


def resealing(house: House, policy: Path) -> list[object]:
    documents = ("--public-key", house.path / "acme.key", "--policy-document", policy)
    return ["reseal", *documents, "--policy", f"prod/{policy.stem}", "--no-state"]


def test_reseal_to_another_policy_than_the_one_named_leaves_the_old_secret(
    house: House, tmp_path: Path
) -> None:
    path = house.file("kept.sealed", house.seal(house.path / "web-tls.policy"))
    before = path.read_bytes()
    ended = house.blindfold(
        *resealing(house, house.policy("other-tls")), "--policy", "prod/web-tls", path, who="prod-web"
    )
    assert ended.code == ExitCode.MISMATCH, ended.words
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", [(), ("--pad",), ("--text",)])
def test_reseal_replaces_a_secret_by_the_same_one(house: House, tmp_path: Path, how: tuple[str, ...]) -> None:
    policy, path = house.path / "web-tls.policy", tmp_path / "sealed"
    before = house.seal(policy, *how, "--name", "db", "--content-type", "text/plain", secret=CHUNKED)
    path.write_bytes(before)
    ended = house.blindfold(*resealing(house, policy), "--expect-name", "db", path, who="prod-web")
    assert (ended.code, ended.out, ended.words) == (0, b"", "")
    assert path.read_bytes()[:13] == before[:13]
    assert path.read_bytes() != before
    assert len(path.read_bytes()) == len(before)
    shown = house.must("blindfold", "open", "--expect-name", "db", path, who="prod-web")
    assert (base64.b64decode(shown["secret"]), shown["content_type"]) == (CHUNKED, "text/plain")
    assert house.must("blindfold", "inspect", path)["padded"] is (how == ("--pad",))


def test_reseal_moves_a_secret_to_another_policy(house: House, tmp_path: Path) -> None:
    rule = {"name": "databases", "action": "ALLOW", "client_selector": {"expressions": ["app=db"]}}
    policy = house.policy("for-databases", {"rules": [rule]})
    path, moved = house.file("web.sealed", house.seal(house.path / "web-tls.policy")), tmp_path / "moved"
    ended = house.blindfold(*resealing(house, policy), "--json", "--out", moved, path, who="prod-web")
    assert (ended.code, ended.json["policy_revision"], ended.json["form"]) == (0, 1, "binary")
    assert house.blindfold("open", moved, who="prod-db").out == SECRET
    assert house.blindfold("open", moved, who="prod-web").code == ExitCode.DENIED
    assert house.blindfold("open", path, who="prod-web").out == SECRET


@pytest.mark.parametrize("fault", ["denied", "cut off", "full disk"])
def test_reseal_that_fails_leaves_the_old_secret(house: House, tmp_path: Path, fault: str) -> None:
    policy, path = house.path / "web-tls.policy", tmp_path / "sealed"
    data = house.seal(policy, secret=CHUNKED)[: -CHUNK if fault == "cut off" else None]
    path.write_bytes(data)
    limits: dict[str, Any] = {
        "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    }
    ended = house.blindfold(
        *resealing(house, policy),
        path,
        who="prod-db" if fault == "denied" else "prod-web",
        **(limits if fault == "full disk" else {}),
    )
    expected = {"denied": ExitCode.DENIED, "cut off": ExitCode.DAMAGED, "full disk": ExitCode.FAILED}
    assert ended.code == expected[fault]
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("sealed", data)]
