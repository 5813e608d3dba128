"""The root of trust of a running server: exchanged with its present holders' consent, locked, drawn anew."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from shared_house import OPERATOR, consent, lock_status, operator, platform_events, unlock

from cli.exit_codes import ExitCode

HOLDERS = ("olga", "peter", "quinn")
PASSPHRASE = "correct horse battery staple\n"


def holders(house: House, *names: str) -> list[object]:
    """The keys of new shares: in files named after their holders, as options of `rekey`."""
    options: list[object] = []
    for name in names:
        made = house.kms("operator", "keygen", "--out", house.path / f"{name}.pem")
        assert made.code == 0, made.words
        options += ["--share-key", house.file(f"{name}.pub", made.out)]
    return options


def unwrapped(house: House) -> list[Path]:
    """The shares of the set in force, each unwrapped by its holder."""
    house.must("kms", "operator", "shares", "--out", house.path / "shares", who=OPERATOR)
    words = []
    for number, name in enumerate(HOLDERS, start=1):
        share = house.path / "shares" / f"share-{number}.json"
        ended = house.kms("operator", "unwrap-share", "--key", house.path / f"{name}.pem", share)
        assert ended.code == 0, ended.words
        words.append(house.file(f"{name}.share", ended.out))
    return words


def rekey(house: House, *arguments: object) -> dict[str, object]:
    found: dict[str, object] = house.must("kms", "operator", "rekey", *arguments, who=OPERATOR)
    return found


def to_shares(house: House) -> list[Path]:
    """Two of three new shares protect the root key."""
    sharing = ("--root-of-trust", "shamir", "--threshold", 2)
    consent(house)
    assert rekey(house, *sharing, *holders(house, *HOLDERS))["done"] is True
    return unwrapped(house)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with one namespace whose root of trust is a file; it is served."""
    house = House(tmp_path)
    house.init()
    with house.served():
        house.must("kms", "namespace", "create", "prod")
        yield house


@pytest.fixture(scope="module")
def cottage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """As `house`, whose root of trust nobody changes."""
    house = House(tmp_path_factory.mktemp("cottage"))
    house.init()
    with house.served():
        house.must("kms", "namespace", "create", "prod")
        yield house


def works(house: House) -> bool:
    return [item["name"] for item in house.must("kms", "namespace", "list")] == [
        "tenants/acme/namespaces/prod",
        "tenants/acme/namespaces/system",
    ]


def test_root_key_is_drawn_anew_while_the_server_serves(house: House) -> None:
    assert int(str(rekey(house)["total_count"])) > 10
    assert works(house)
    assert int(str(rekey(house)["total_count"])) > 10
    assert len(platform_events(house, "RotateRootKey")) == 2
    assert operator(house, "rotation").error["reason"] == "NOT_FOUND"
    assert operator(house, "rotation", "--wait").code == 0
    assert works(house)


@pytest.mark.slow
def test_locked_server_has_begun_anew_and_opens_with_shares(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.init()
    with house.served() as process:
        house.must("kms", "namespace", "create", "prod")
        shares = to_shares(house)
        before = Path(f"/proc/{process.pid}/stat").read_text().split()
        assert operator(house, "lock").code == 0
        assert process.stdout is not None
        house.addresses = json.loads(process.stdout.readline())
        house._write_profile()
        assert process.poll() is None
        assert Path(f"/proc/{process.pid}/stat").read_text().split()[0] == before[0]
        assert lock_status(house)["locked"] is True
        assert unlock(house, *shares[1:])["locked"] is False
        assert works(house)
        [locked] = platform_events(house, "LockServer")
        assert locked["caller"].endswith("/operator/root")
        [unlocked] = platform_events(house, "Kms.Unlock")
        assert unlocked["details"]["share_2"] == "127.0.0.1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_shares_consent_to_what_takes_their_place(house: House) -> None:
    shares = to_shares(house)
    passphrase = ("--root-of-trust", "passphrase", "--passphrase-file", house.file("new", PASSPHRASE))
    waiting = rekey(house, *passphrase)
    assert "done" not in waiting
    assert (waiting["threshold"], waiting["new_root_of_trust"]) == (2, "passphrase")
    shown = operator(house, "approve").json
    assert shown["change_id"] == waiting["change_id"]
    assert shown["requester"].endswith("/operator/root")
    this = ("--change", waiting["change_id"])

    assert operator(house, "approve", *this, shares[0]).json["given"] == 1
    assert operator(house, "approve", *this, shares[0]).error["reason"] == "SHARE_REPEATED"
    assert operator(house, "approve", "--change", "another", shares[1]).error["reason"] == "NOT_FOUND"
    assert operator(house, "approve", shares[1]).code == ExitCode.USAGE
    assert operator(house, "approve", *this, "-", stdin=b"no share").code == ExitCode.USAGE
    assert house.must("kms", "status", who=OPERATOR)["root_of_trust"]["kind"] == "shamir"
    assert operator(house, "approve", *this, shares[1]).json["done"] is True

    assert operator(house, "approve").error["reason"] == "NOT_FOUND"
    assert house.must("kms", "status", who=OPERATOR)["root_of_trust"]["kind"] == "passphrase"
    assert not (house.data / "locked").exists()
    asked, made = platform_events(house, "ChangeRootOfTrust")[-2:]
    assert asked["details"]["change"] == waiting["change_id"]
    assert (made["details"]["from"], made["details"]["to"]) == ("shamir", "passphrase")


@pytest.mark.slow
def test_passphrase_is_shown_before_it_is_changed_and_asked_for_at_the_next_start(tmp_path: Path) -> None:
    house = House(tmp_path)
    old, new = house.file("old", PASSPHRASE), house.file("new", "another " + PASSPHRASE)
    house.init("--root-of-trust", "passphrase", "--passphrase-file", old)
    change = ("--root-of-trust", "passphrase", "--passphrase-file", new)
    with house.served("--passphrase-file", old):
        house.must("kms", "namespace", "create", "prod")
        ended = operator(house, "rekey", *change)
        assert (ended.code, "present_passphrase: is needed" in ended.words) == (ExitCode.USAGE, True)
        ended = operator(house, "rekey", *change, "--present-passphrase-file", new)
        assert ended.error["reason"] == "WRONG_ROOT_MATERIAL"
        assert rekey(house, *change, "--present-passphrase-file", old)["done"] is True
        rekey(house)
    with house.served("--passphrase-file", new):
        assert works(house)
    refused = house.process("kms", "serve", "--data", house.data, "--passphrase-file", old)
    assert "not the passphrase that protects this store" in refused.words


REFUSED: dict[str, tuple[object, ...]] = {
    "shares for nobody": ("--root-of-trust", "shamir"),
    "a threshold for a file": ("--root-of-trust", "keyfile", "--threshold", 2),
    "no passphrase": ("--root-of-trust", "passphrase"),
    "nothing to change to": ("--threshold", 2),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(cottage: House, arguments: tuple[object, ...]) -> None:
    assert operator(cottage, "rekey", *arguments).code == ExitCode.USAGE
    assert cottage.must("kms", "status", who=OPERATOR)["root_of_trust"]["kind"] == "keyfile"


def test_a_device_that_is_not_there_is_no_root_of_trust(cottage: House) -> None:
    consent(cottage)
    ended = operator(cottage, "rekey", "--root-of-trust", "pkcs11")
    assert (ended.code, ended.error["message"].partition(" (")[0]) == (
        ExitCode.CONFLICT,
        "root_of_trust pkcs11 needs device_module, device_token and device_pin_file",
    )


def test_an_operator_alone_does_not_change_a_keyfile(cottage: House) -> None:
    passphrase = ("--root-of-trust", "passphrase", "--passphrase-file", cottage.file("mine", PASSPHRASE))
    ended = operator(cottage, "rekey", *passphrase)
    assert (ended.code, "change-root-of-trust" in ended.words) == (ExitCode.CONFLICT, True)
    assert cottage.must("kms", "status", who=OPERATOR)["root_of_trust"]["kind"] == "keyfile"


def test_a_server_that_unlocks_itself_is_not_locked(cottage: House) -> None:
    ended = operator(cottage, "lock")
    assert (ended.code, ended.error["reason"]) == (ExitCode.CONFLICT, "WRONG_STATE")
    assert works(cottage)


def test_nobody_but_operators_reaches_the_root_of_trust(cottage: House) -> None:
    for command in (
        ("lock",),
        ("rekey",),
        ("rotation",),
        ("approve",),
        ("shares", "--out", cottage.path / "x"),
    ):
        assert cottage.kms("operator", *command, "--json").code == ExitCode.DENIED
