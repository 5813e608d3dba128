"""Key material in, out and across, by the commands, against a served KMS."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House

from cli.exit_codes import ExitCode

AES_KEY = bytes(range(32))
WORKER = "prod-carrier"


@pytest.fixture(scope="module")
def workshop(house: House) -> Iterator[House]:
    rules = {"rules": [{"name": "all", "action": "ALLOW"}]}
    house.must("kms", "policy", "create", "prod/carriers", house.file("carriers.json", rules))
    house.enrol("prod/carrier", "--role", "key-user", "--role", "key-admin")
    house.file("aes.key", AES_KEY)
    return house


@pytest.fixture(scope="module")
def recipient(workshop: House) -> Path:
    """The private key that another program made."""
    return openssl(workshop.path / "recipient.pem", "genpkey", "-algorithm", "RSA", bits="3072")


def openssl(out: Path, *arguments: str, bits: str = "") -> Path:
    sized = ("-pkeyopt", f"rsa_keygen_bits:{bits}") if bits else ()
    subprocess.run(["openssl", *arguments, *sized, "-out", out], check=True, capture_output=True, timeout=60)
    return out


def add_key(house: House, name: str, *options: object) -> str:
    house.must("kms", "key", "create", f"prod/{name}", "--policy", "prod/carriers", *options)
    return f"prod/{name}"


def carry(house: House, *arguments: object, **how: Any) -> Any:
    return house.must("kms", "key", *arguments, who=WORKER, **how)


def test_imported_key_comes_out_as_it_went_in(workshop: House, recipient: Path, tmp_path: Path) -> None:
    key = add_key(workshop, "edge", "--sensitivity", "LOW", "--import-only")
    made = carry(workshop, "import", key, workshop.path / "aes.key", "--primary")
    assert (made["state"], made["origin"], made["primary"]) == ("ENABLED", "IMPORTED", True)
    out = tmp_path / "edge.key"
    carry(workshop, "export", f"{key}/1", "--private-key", recipient, "--unwrap", "--out", out)
    assert out.read_bytes() == AES_KEY
    assert out.stat().st_mode & 0o777 == 0o600


def test_material_may_come_from_standard_input(workshop: House) -> None:
    key = add_key(workshop, "piped", "--purpose", "MAC")
    made = carry(workshop, "import", key, stdin=AES_KEY)
    assert (made["name"].rpartition("/")[2], made["algorithm"]) == ("2", "HMAC_SHA256")
    assert "primary" not in made


def test_export_is_wrapped_unless_asked_otherwise(workshop: House, recipient: Path, tmp_path: Path) -> None:
    key = add_key(workshop, "wrapped", "--sensitivity", "LOW")
    out = tmp_path / "wrapped"
    carry(workshop, "export", f"{key}/1", "--private-key", recipient, "--out", out)
    assert len(out.read_bytes()) == 384 + 40
    shown = carry(workshop, "export", f"{key}/1", "--private-key", recipient)
    assert set(shown) == {"name", "wrapped_key"}
    assert len(base64.b64decode(shown["wrapped_key"])) == 384 + 40


def test_what_was_wrapped_apart_is_imported(workshop: House, recipient: Path, tmp_path: Path) -> None:
    key, towards = add_key(workshop, "ceremony"), tmp_path / "import.pem"
    made = carry(workshop, "import-key", "create", "prod", "--out", towards)
    assert towards.read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")
    wrapped = tmp_path / "wrapped"
    call = ("key", "wrap", "--import-key", towards, "--out", wrapped)
    ended = workshop.process("kms", *call, who="/nowhere", input=AES_KEY)
    assert ended.code == 0, ended.words
    short = made["name"].removeprefix("tenants/acme/namespaces/").replace("/importKeys", "")
    imported = carry(workshop, "import", key, "--wrapped", wrapped, "--import-key", short)
    assert imported["origin"] == "IMPORTED"
    again = workshop.kms("key", "import", key, "--wrapped", wrapped, "--import-key", made["name"], who=WORKER)
    assert again.code == ExitCode.MISMATCH


def test_rsa_keys_of_other_programs_are_imported(workshop: House, recipient: Path, tmp_path: Path) -> None:
    options = ("--purpose", "ASYMMETRIC_SIGN", "--import-only")
    key, message = add_key(workshop, "signer", *options), workshop.file("m", b"message")
    carry(workshop, "import", key, recipient, "--primary")
    signature = tmp_path / "signature"
    workshop.must("kms", "sign", key, message, "--out", signature, who=WORKER)
    public = openssl(tmp_path / "public.pem", "pkey", "-in", str(recipient), "-pubout")
    partner = add_key(workshop, "partner", *options)
    made = carry(workshop, "import", partner, "--public-key", public)
    assert made["public_only"] is True
    checked = workshop.must("kms", "verify", f"{partner}/1", message, "--signature", signature, who=WORKER)
    assert checked["verified"] is True


def test_copy_works_with_the_same_key(workshop: House, tmp_path: Path) -> None:
    source, target = (
        add_key(workshop, "from", "--purpose", "MAC"),
        add_key(workshop, "to", "--purpose", "MAC"),
    )
    code, message = tmp_path / "code", workshop.file("m", b"message")
    workshop.must("kms", "mac", source, message, "--out", code, who=WORKER)
    made = carry(workshop, "copy", f"{source}/1", target, "--primary")
    assert (made["origin"], made["primary"]) == ("COPIED", True)
    call = ("mac-verify", f"{target}/2", message, "--mac", code)
    assert workshop.must("kms", *call, who=WORKER)["verified"] is True


def test_medium_key_does_not_leave(workshop: House, recipient: Path, tmp_path: Path) -> None:
    key, out = add_key(workshop, "medium"), tmp_path / "out"
    call = ("key", "export", f"{key}/1", "--private-key", recipient, "--out", out)
    assert workshop.kms(*call, who=WORKER).code == ExitCode.CONFLICT
    assert not out.exists()


def test_recipient_of_the_wrong_kind_is_refused_before_any_call(workshop: House, tmp_path: Path) -> None:
    small = openssl(tmp_path / "small.pem", "genpkey", "-algorithm", "RSA", bits="2048")
    for file in (small, workshop.path / "aes.key"):
        ended = workshop.kms("key", "export", "prod/none/1", "--private-key", file, who=WORKER)
        assert ended.code == ExitCode.USAGE
        assert "private_key" in ended.words


@pytest.mark.parametrize(
    "options",
    [
        ("file", "--public-key", "file"),
        ("--wrapped", "file"),
        ("--import-key", "prod/i1"),
        ("--public-key", "file", "--primary"),
        ("--wrapped", "file", "--import-key", "not a name"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(workshop: House, options: tuple[str, ...]) -> None:
    assert workshop.kms("key", "import", "prod/x", *options, who=WORKER).code == ExitCode.USAGE


def test_material_is_no_argument(workshop: House) -> None:
    ended = workshop.kms("key", "import", "prod/x", AES_KEY.hex(), who=WORKER)
    assert ended.code == ExitCode.USAGE
    assert AES_KEY.hex() not in ended.words
