"""The clients against a whole KMS: every operation, alone and in a batch, sync and async."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from client.clients import KINDS, sync_client
from server.kms_harness import PROD

from kms.client import operations as op
from kms.client.client import KmsClient
from kms.client.errors import CallAlreadyExists, CallDenied, CallInvalid, CallNotFound
from kms.client.opening import open_sealed
from kms.errors import ConfigError

SECRET = b"correct horse battery staple"
DIGEST = bytes(32)
KEYS = {
    "aes": ("ENCRYPT_DECRYPT", "AES_256_GCM"),
    "archive": ("ENCRYPT_DECRYPT", "AES_256_GCM"),
    "raw": ("RAW_ENCRYPT_DECRYPT", "AES_256_GCM"),
    "mac": ("MAC", "HMAC_SHA256"),
    "rsa": ("ASYMMETRIC_SIGN", "RSA_PSS_2048_SHA256"),
    "oaep": ("ASYMMETRIC_DECRYPT", "RSA_OAEP_2048_SHA256"),
}


@pytest.fixture(scope="module")
def keys(kms):
    kms.allow_keys()
    made = {
        name: kms.make_key(name, purpose, algorithm=f"KEY_ALGORITHM_{algorithm}")
        for name, (purpose, algorithm) in KEYS.items()
    }
    return made | {f"{name}-1": f"{key}/versions/1" for name, key in made.items()} | {"namespace": PROD}


@pytest.fixture(params=KINDS)
def client(request, kms, keys):
    with KINDS[request.param](kms.target, kms.credentials("key-user")) as client:
        yield client


@dataclass(frozen=True)
class Way:
    """There by one operation, and back by another: `back` makes the second request of the first answer."""

    there: str
    request: op.Request[Any]
    back: str
    reply: Callable[[Any], op.Request[Any]]
    regained: Callable[[Any], Any]

    def __str__(self) -> str:
        return type(self.request).__name__


def plaintext(answer: Any) -> bytes:
    return bytes(answer.plaintext.reveal())


WAYS = [
    Way(
        "aes", op.Encrypt(SECRET, aad=b"a"), "aes", lambda made: op.Decrypt(made.ciphertext, b"a"), plaintext
    ),
    Way(
        "raw",
        op.RawEncrypt(SECRET, aad=b"a"),
        "raw-1",
        lambda made: op.RawDecrypt(made.nonce, made.ciphertext, made.tag, b"a"),
        plaintext,
    ),
    Way(
        "oaep",
        op.AsymmetricEncrypt(SECRET, label=b"a"),
        "oaep-1",
        lambda made: op.AsymmetricDecrypt(made.ciphertext, b"a"),
        plaintext,
    ),
]
CLAIMS = [
    Way(
        "rsa",
        op.Sign(SECRET),
        "rsa-1",
        lambda made: op.Verify(message=SECRET, signature=made.signature),
        lambda verified: verified.name,
    ),
    Way(
        "rsa",
        op.Sign(digest=DIGEST),
        "rsa-1",
        lambda made: op.Verify(digest=DIGEST, signature=made.signature),
        lambda verified: verified.name,
    ),
    Way(
        "mac",
        op.Mac(SECRET),
        "mac-1",
        lambda made: op.MacVerify(SECRET, made.mac),
        lambda verified: verified.name,
    ),
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_encrypted_is_decrypted_alone_and_in_batches(client, keys, way):
    made = client.run(keys[way.there], way.request)
    assert made.name == f"{keys[way.there]}/versions/1"
    assert way.regained(client.run(keys[way.back], way.reply(made))) == SECRET
    many = client.batch(keys[way.there], [way.request] * 3)
    back = client.batch(keys[way.back], [way.reply(item) for item in many])
    assert [way.regained(item) for item in back] == [SECRET] * 3


@pytest.mark.parametrize("way", CLAIMS, ids=str)
def test_what_is_signed_is_verified_alone_and_in_batches(client, keys, way):
    made = client.run(keys[way.there], way.request)
    assert way.regained(client.run(keys[way.back], way.reply(made))) == keys[way.back]
    good, bad = client.batch(keys[way.back], [way.reply(made), spoilt(way.reply(made))])
    assert good.name == keys[way.back]
    assert bad.reason in ("SIGNATURE_INVALID", "MAC_INVALID")
    with pytest.raises(CallInvalid):
        client.run(keys[way.back], spoilt(way.reply(made)))


def spoilt(request: Any) -> Any:
    if isinstance(request, op.MacVerify):
        return op.MacVerify(request.message, bytes(32))
    return op.Verify(message=request.message, digest=request.digest, signature=bytes(256))


def test_ciphertext_is_moved_to_another_key(client, keys):
    first = client.encrypt(keys["aes"], SECRET, aad=b"a")
    moved = client.re_encrypt(
        keys["aes"], first.ciphertext, b"a", destination=keys["archive"], destination_aad=b"b"
    )
    assert (moved.source_name, moved.name) == (first.name, keys["archive-1"])
    assert plaintext(client.decrypt(keys["archive"], moved.ciphertext, b"b")) == SECRET
    requests = [op.ReEncrypt(first.ciphertext, b"a", keys["archive"])] * 2
    assert {item.name for item in client.batch(keys["aes"], requests)} == {keys["archive-1"]}


def test_raw_ciphertexts_are_moved_by_their_version(client, keys):
    made = client.raw_encrypt(keys["raw"], SECRET, aad=b"a")
    item = op.ReEncrypt(made.nonce + made.ciphertext + made.tag, b"a", keys["aes"], b"b")
    for moved in client.batch(made.name, [item] * 2):
        assert moved.source_name == made.name
        assert plaintext(client.decrypt(keys["aes"], moved.ciphertext, b"b")) == SECRET


@pytest.mark.parametrize("byte_count", [16, 32, 64])
def test_data_key_is_what_its_ciphertext_decrypts_to(client, keys, byte_count):
    made = client.generate_data_key(keys["aes"], aad=b"a", byte_count=byte_count)
    assert len(made.plaintext) == byte_count
    assert plaintext(client.decrypt(keys["aes"], made.ciphertext, b"a")) == plaintext(made)
    assert len(client.generate_data_key(keys["aes"], with_plaintext=False).plaintext) == 0


def test_random_bytes_are_of_a_namespace(client):
    assert len(client.generate_random(PROD, 24).data) == 24
    first, second = client.batch(PROD, [op.GenerateRandom(16)] * 2)
    assert first.data.reveal() != second.data.reveal()


def test_public_key_is_read_in_each_form(client, keys):
    forms = {form: client.get_public_key(keys["rsa-1"], form) for form in op.PublicKeyFormat}
    assert {answer.algorithm for answer in forms.values()} == {"RSA_PSS_2048_SHA256"}
    starts = {form: answer.public_key[:1] for form, answer in forms.items()}
    assert starts == {
        op.PublicKeyFormat.PEM: b"-",
        op.PublicKeyFormat.DER: b"0",
        op.PublicKeyFormat.JWK: b"{",
    }


def test_batch_has_the_error_of_each_item_that_failed(client, keys):
    good = client.encrypt(keys["aes"], SECRET).ciphertext
    results = client.batch(keys["aes"], [op.Decrypt(good), op.Decrypt(good, b"other"), op.Decrypt(b"")])
    assert plaintext(results[0]) == SECRET
    assert [error.reason for error in results[1:]] == ["DECRYPTION_FAILED", "INVALID_FIELD"]


def test_refusal_is_raised_by_its_class(client, keys):
    with pytest.raises(CallDenied):
        client.encrypt(f"{PROD}/keys/none", SECRET)
    with pytest.raises(CallInvalid) as caught:
        client.decrypt(keys["aes"], b"\x07" + bytes(80))
    assert SECRET.decode() not in str(caught.value)


def test_management_is_called_by_name_on_the_same_connection(client, keys):
    with pytest.raises(CallDenied):
        client.call("KeyService", "RotateKey", {"name": keys["aes"]})


@pytest.mark.parametrize("kind", KINDS)
def test_create_call_with_a_request_id_gives_the_same_key_twice(kms, keys, kind):
    request = {"parent": PROD, "key_id": f"made-{kind}", "key": {"purpose": "KEY_PURPOSE_MAC"}}
    with KINDS[kind](kms.target, kms.credentials("key-admin")) as admin:
        request_id = str(uuid.uuid4())
        first, second = (
            admin.call("KeyService", "CreateKey", {**request, "request_id": request_id}) for _ in range(2)
        )
        assert first == second
        with pytest.raises(CallAlreadyExists):
            admin.call("KeyService", "CreateKey", request)
        with pytest.raises(CallNotFound):
            admin.call("KeyService", "GetKey", {"name": f"{PROD}/keys/none"})


def test_the_api_by_json_and_opening_go_over_the_same_connection(kms, keys):
    kms.add_policy("opened")
    sealed = kms.seal(SECRET, f"{PROD}/secretPolicies/opened")
    with sync_client(kms.target, kms.credentials("web")) as client:
        assert open_sealed(client.api, sealed).reveal() == SECRET


def test_a_client_serves_many_threads(kms, keys):
    found = []
    with sync_client(kms.target, kms.credentials("key-user")) as client:

        def act(number):
            made = client.encrypt(keys["aes"], b"%d" % number)
            found.append((number, plaintext(client.decrypt(keys["aes"], made.ciphertext))))

        threads = [threading.Thread(target=act, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [(number, b"%d" % number) for number in range(16)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_client_says_so(kms, keys, kind):
    with KINDS[kind](kms.target, kms.credentials("key-user")) as client:
        client.mac(keys["mac"], b"")
        client.close()
        with pytest.raises(ValueError, match="closed"):
            client.mac(keys["mac"], b"")


def test_a_client_without_credentials_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError, match="enrol first"):
        KmsClient("localhost:1", tmp_path)
