"""POST /crypto/...: what programs ask of keys."""

import base64
import hashlib
from collections.abc import Iterator

import pytest
from server.kms_harness import PROD, RunningKms
from sidecar import Sidecar, ready_sidecar

from kms.client.client import KmsClient
from wingman.http.key_pages import PAGES

PLAIN = b"not UTF-8: \xff"
AAD = b"order 17"


def printed(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def keys(kms: RunningKms) -> dict[str, str]:
    kms.allow_keys()
    purposes = {"box": "ENCRYPT_DECRYPT", "pen": "ASYMMETRIC_SIGN", "stamp": "MAC"}
    return {key_id: kms.make_key(key_id, purpose) for key_id, purpose in purposes.items()}


@pytest.fixture(scope="module")
def user(
    kms: RunningKms, keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sidecar]:
    with ready_sidecar(kms, tmp_path_factory.mktemp("user"), "key-user") as started:
        yield started


@pytest.fixture(scope="module")
def direct(kms: RunningKms) -> Iterator[KmsClient]:
    with KmsClient(kms.target, kms.credentials("key-user")) as client:
        yield client


def test_what_is_encrypted_here_is_decrypted_by_others(
    user: Sidecar, direct: KmsClient, keys: dict[str, str]
) -> None:
    answer = user.post(
        "/crypto/encrypt", {"key": keys["box"], "plaintext": printed(PLAIN), "aad": printed(AAD)}
    )
    ciphertext = base64.b64decode(answer.text)
    assert direct.decrypt(keys["box"], ciphertext, AAD).plaintext.reveal() == PLAIN


def test_what_others_encrypted_is_decrypted_here(
    user: Sidecar, direct: KmsClient, keys: dict[str, str]
) -> None:
    ciphertext = direct.encrypt(keys["box"], PLAIN, AAD).ciphertext
    asked = {"key": keys["box"], "ciphertext": printed(ciphertext), "aad": printed(AAD)}
    assert user.post("/crypto/decrypt?raw", asked).body == PLAIN
    told = user.post("/crypto/decrypt", asked, accept="application/json").json
    assert told == {"plaintext": printed(PLAIN), "name": f"{keys['box']}/versions/1"}


@pytest.mark.parametrize("what", [{"message": PLAIN}, {"digest": hashlib.sha256(PLAIN).digest()}], ids=list)
def test_signature_is_made_and_verified(user: Sidecar, keys: dict[str, str], what: dict[str, bytes]) -> None:
    version = f"{keys['pen']}/versions/1"
    asked = {name: printed(value) for name, value in what.items()} | {"key": version}
    signature = user.post("/crypto/sign", asked).text
    assert user.post("/crypto/verify", asked | {"signature": signature}).text == version + "\n"
    forged = user.post(
        "/crypto/verify", asked | {"signature": printed(b"x" * 384)}, accept="application/json"
    )
    assert (forged.status, forged.json["error"]["reason"]) == (400, "SIGNATURE_INVALID")


def test_code_is_made_and_verified(user: Sidecar, keys: dict[str, str]) -> None:
    asked = {"key": keys["stamp"], "message": printed(PLAIN)}
    made = user.post("/crypto/mac", asked, accept="application/json").json
    asked["key"] = made["name"]
    told = user.post("/crypto/mac-verify", asked | {"mac": made["mac"]}, accept="application/json")
    assert (told.status, told.json) == (200, {"name": made["name"]})
    assert user.post("/crypto/mac-verify", asked | {"mac": printed(b"x" * 32)}).status == 400


def test_wrong_additional_data_is_a_bad_request(
    user: Sidecar, direct: KmsClient, keys: dict[str, str]
) -> None:
    ciphertext = printed(direct.encrypt(keys["box"], PLAIN, AAD).ciphertext)
    answer = user.post("/crypto/decrypt", {"key": keys["box"], "ciphertext": ciphertext})
    assert (answer.status, answer.text) == (400, "decryption failed\n")


@pytest.mark.parametrize("operation", PAGES)
def test_what_the_kms_refuses_is_forbidden(sidecar: Sidecar, keys: dict[str, str], operation: str) -> None:
    asked = {name: printed(b"x" * 32) for name in PAGES[operation].form.schema["required"]}
    if operation in ("sign", "verify"):
        asked["message"] = printed(PLAIN)
    versions = {"sign": "pen", "verify": "pen", "mac": "stamp", "mac-verify": "stamp"}
    key = f"{keys[versions.get(operation, 'box')]}"
    if operation in ("sign", "verify", "mac-verify"):
        key += "/versions/1"
    assert sidecar.post(f"/crypto/{operation}", asked | {"key": key}).status == 403


def test_key_that_is_not_there_is_forbidden_like_one_that_is_not_allowed(user: Sidecar) -> None:
    answer = user.post("/crypto/encrypt", {"key": f"{PROD}/keys/nothing", "plaintext": printed(PLAIN)})
    assert answer.status == 403


def test_key_of_another_tenant_is_not_found_and_nobody_is_asked(kms: RunningKms, user: Sidecar) -> None:
    before = len(kms.events())
    foreign = "tenants/globex/namespaces/prod/keys/box"
    answer = user.post("/crypto/encrypt", {"key": foreign, "plaintext": printed(PLAIN)})
    assert (answer.status, len(kms.events())) == (404, before)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": 5},
        {"key": "box"},
        {"key": f"{PROD}/keys/../keys/box", "plaintext": ""},
        {"key": f"{PROD}/keys/box"},
        {"key": f"{PROD}/keys/box", "plaintext": "no base64"},
        {"key": f"{PROD}/keys/box", "plaintext": "QUI"},
        {"key": f"{PROD}/keys/box", "plaintext": "", "more": ""},
    ],
    ids=str,
)
def test_bad_request_is_told(user: Sidecar, body: object) -> None:
    assert user.post("/crypto/encrypt", body).status == 400


def test_message_and_digest_exclude_each_other(user: Sidecar, keys: dict[str, str]) -> None:
    both = {"key": f"{keys['pen']}/versions/1", "message": "", "digest": printed(bytes(32))}
    assert user.post("/crypto/sign", both).status == 400
