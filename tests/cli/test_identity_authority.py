"""The identity authority is replaced by command: an operator's, online, and the root's keeper's, offline."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import Ended, House

from cli.exit_codes import ExitCode
from kms.client.credentials import read_credentials

GROUP = "identity-authority"


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("ceremony"))
    house.init()
    with house.served():
        yield house


def operator(house: House, *arguments: object) -> Any:
    credentials = ("--credentials", house.made["operator_credentials"])
    return house.must("kms", GROUP, *arguments, *credentials)


def tried(house: House, *arguments: object) -> Ended:
    return house.kms(GROUP, *arguments, "--credentials", house.made["operator_credentials"])


def offline(house: House, command: str, *arguments: object, root: str = "") -> Any:
    at = root or house.made["identity_root_file"]
    return house.must("kms", GROUP, command, "--root", at, *arguments)


def activated(house: House, root: str = "") -> Any:
    request, certificate = house.path / "next.csr", house.path / "next.pem"
    prepared = operator(house, "prepare", "--out", request)
    said = ("--key-sha256", prepared["key_sha256"], "--out", certificate)
    offline(house, "sign", *said, request, root=root)
    return operator(house, "activate", prepared["name"], certificate)


def renew(house: House) -> None:
    for who in ("operator_credentials", "admin_credentials"):
        house.must("kms", "identity", "renew", "--credentials", house.made[who])


def parts(pem: bytes) -> set[bytes]:
    return set(pem.split(b"-----BEGIN"))


def test_intermediate_and_then_the_root_are_replaced(ceremony: House) -> None:
    house = ceremony
    first = operator(house, "status")["authorities"][0]
    assert activated(house)["state"] == "ACTIVE"
    assert [item["state"] for item in operator(house, "status")["authorities"]] == ["OLD", "ACTIVE"]

    refused = tried(house, "retire", first["name"], "--force")
    assert (refused.code, "kms identity renew" in refused.words) == (ExitCode.CONFLICT, True)
    house.must("kms", "identity", "renew", "--credentials", house.made["operator_credentials"])
    counted = tried(house, "retire", first["name"].rpartition("/")[2])
    assert (counted.code, "2 identities depend on it" in counted.words) == (ExitCode.CONFLICT, True)
    house.must("kms", "identity", "renew")
    assert operator(house, "retire", first["name"], "--force")["state"] == "RETIRED"

    key, published = house.path / "root-2.pem", house.path / "published.pem"
    made = offline(house, "new-root", "--key-out", key, "--out", published)
    assert key.stat().st_mode & 0o777 == 0o600
    assert operator(house, "publish-root", published)["identity_root"] == made["identity_root"]
    activated(house, root=str(key))
    renew(house)
    bundle, admin = house.path / "ca.pem", Path(house.made["admin_credentials"])
    operator(house, "bundle", "--out", bundle)
    assert parts(bundle.read_bytes()) == parts(read_credentials(admin).ca_pem)

    old = operator(house, "status")["roots"][0]["name"]
    assert operator(house, "retire-root", old, "--force")["state"] == "RETIRED"
    renew(house)
    operator(house, "bundle", "--out", bundle)
    assert bundle.read_bytes().count(b"BEGIN") == 1
    assert read_credentials(admin).ca_pem == bundle.read_bytes()
    assert b"identityAuthorities/ca-" in tried(house, "status").out


def test_request_that_was_exchanged_is_not_signed(ceremony: House) -> None:
    request, certificate = ceremony.path / "exchanged.csr", ceremony.path / "exchanged.pem"
    operator(ceremony, "prepare", "--out", request)
    said = ("--root", ceremony.made["identity_root_file"], "--key-sha256", f"sha256:{'0' * 64}")
    refused = ceremony.kms(GROUP, "sign", *said, "--out", certificate, request)
    assert (refused.code, "do not sign it" in refused.words) == (ExitCode.USAGE, True)
    assert not certificate.exists()


def test_certificate_of_another_root_is_not_activated(ceremony: House) -> None:
    request, certificate = ceremony.path / "next.csr", ceremony.path / "next.pem"
    stranger = House(ceremony.path / "stranger")
    stranger.path.mkdir()
    stranger.init()
    prepared = operator(ceremony, "prepare", "--out", request)
    said = ("--key-sha256", prepared["key_sha256"], "--out", certificate)
    offline(ceremony, "sign", *said, request, root=stranger.made["identity_root_file"])
    refused = tried(ceremony, "activate", prepared["name"], certificate)
    assert (refused.code, "no root that is trusted" in refused.words) == (ExitCode.USAGE, True)
    assert operator(ceremony, "retire", prepared["name"])["state"] == "RETIRED"


def test_key_of_a_new_root_is_encrypted_if_asked_and_never_written_over(ceremony: House) -> None:
    key, out = ceremony.path / "encrypted.pem", ceremony.path / "encrypted-root.pem"
    passphrase = ceremony.file("passphrase", "correct horse battery")
    made = ("--key-out", key, "--out", out)
    offline(ceremony, "new-root", *made, "--new-passphrase-file", passphrase)
    assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    again = ceremony.kms(GROUP, "new-root", "--root", ceremony.made["identity_root_file"], *made)
    assert (again.code, "there already" in again.words) == (ExitCode.USAGE, True)

    third = ("--key-out", ceremony.path / "root-3.pem", "--out", ceremony.path / "third.pem")
    assert ceremony.kms(GROUP, "new-root", "--root", key, *third).code != 0
    offline(ceremony, "new-root", *third, "--passphrase-file", passphrase, root=str(key))


def test_tenants_administrators_have_no_say(ceremony: House) -> None:
    assert ceremony.kms(GROUP, "status").code == ExitCode.DENIED


@pytest.mark.slow
def test_ceremony_goes_on_where_it_was_after_each_sigkill(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.init()
    request, certificate = house.path / "next.csr", house.path / "next.pem"
    with house.served() as process:
        prepared = operator(house, "prepare", "--out", request)
        process.kill()
    with house.served() as process:
        assert operator(house, "prepare", "--out", request) == prepared
        said = ("--key-sha256", prepared["key_sha256"], "--out", certificate)
        offline(house, "sign", *said, request)
        active = operator(house, "activate", prepared["name"], certificate)
        process.kill()
    with house.served() as process:
        assert operator(house, "activate", prepared["name"], certificate) == active
        renew(house)
        first = operator(house, "status")["authorities"][0]["name"]
        retired = operator(house, "retire", first, "--force")
        process.kill()
    with house.served():
        assert operator(house, "retire", first) == retired
        assert [item["state"] for item in operator(house, "status")["authorities"]] == ["RETIRED", "ACTIVE"]
        house.must("kms", "namespace", "create", "prod")
        house.enrol("prod/late")
    assert house.process("kms", "verify-store", "--data", house.data).code == 0
