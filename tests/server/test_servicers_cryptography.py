"""The use of keys over the wire: each operation alone, its checksums, and who is refused."""

import base64
import hashlib
import hmac
import json

import google_crc32c
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from server.kms_harness import PROD

from kms.client.errors import CallDenied, CallInvalid, CallWrongState
from protos.kms.v1 import crypto_pb2 as pb

DATA = b"attack at dawn"
AAD = b"orders/1"


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


@pytest.fixture(scope="module", autouse=True)
def keys(kms):
    """A key for each purpose, which a policy of the namespace allows to be used for anything."""
    kms.allow_keys()
    purposes = ("ENCRYPT_DECRYPT", "RAW_ENCRYPT_DECRYPT", "MAC")
    made = {purpose: kms.make_key(f"k-{number}", purpose) for number, purpose in enumerate(purposes)}
    for number, (purpose, algorithm) in enumerate(
        (("ASYMMETRIC_DECRYPT", "RSA_OAEP_2048_SHA256"), ("ASYMMETRIC_SIGN", "RSA_PSS_2048_SHA384"))
    ):
        made[purpose] = kms.make_key(f"r-{number}", purpose, algorithm=f"KEY_ALGORITHM_{algorithm}")
    return made


def use(kms, method, who="key-user", **request):
    return kms.as_(who).call("CryptoService", method, request)


def encrypt(kms, key, data=DATA, aad=AAD):
    answer = use(kms, "Encrypt", name=key, plaintext=b64(data), additional_authenticated_data=b64(aad))
    return answer["ciphertext"]


def test_what_is_encrypted_is_decrypted(kms, keys):
    key = keys["ENCRYPT_DECRYPT"]
    made = use(kms, "Encrypt", name=key, plaintext=b64(DATA), additional_authenticated_data=b64(AAD))
    assert made["name"] == f"{key}/versions/1"
    opened = use(kms, "Decrypt", name=key, ciphertext=made["ciphertext"],
                 additional_authenticated_data=b64(AAD))  # fmt: skip
    assert opened == {"name": f"{key}/versions/1", "plaintext": b64(DATA)}


def test_ciphertext_holds_under_its_key_and_data_alone(kms, keys):
    key, other = keys["ENCRYPT_DECRYPT"], kms.make_key("other")
    ciphertext = encrypt(kms, key)
    flipped = bytearray(unb64(ciphertext))
    flipped[-1] ^= 1
    for name, data, aad in (
        (key, ciphertext, b"orders/2"),
        (key, ciphertext, b""),
        (other, ciphertext, AAD),
        (key, b64(flipped), AAD),
        (key, b64(unb64(ciphertext)[:-1]), AAD),
    ):
        with pytest.raises(CallInvalid) as caught:
            use(kms, "Decrypt", name=name, ciphertext=data, additional_authenticated_data=b64(aad))
        assert caught.value.reason == "DECRYPTION_FAILED"
    with pytest.raises(CallInvalid):
        use(kms, "Decrypt", name=key, ciphertext="")


def test_old_ciphertext_is_moved_to_another_key_and_data(kms, keys):
    key, other = keys["ENCRYPT_DECRYPT"], kms.make_key("destination")
    moved = use(
        kms,
        "ReEncrypt",
        name=key,
        ciphertext=encrypt(kms, key),
        additional_authenticated_data=b64(AAD),
        destination=other,
        destination_additional_authenticated_data=b64(b"new"),
    )
    assert (moved["source_name"], moved["name"]) == (f"{key}/versions/1", f"{other}/versions/1")
    opened = use(kms, "Decrypt", name=other, ciphertext=moved["ciphertext"],
                 additional_authenticated_data=b64(b"new"))  # fmt: skip
    assert opened["plaintext"] == b64(DATA)


def test_re_encryption_without_a_destination_stays_with_the_key(kms, keys):
    key = kms.make_key("rotated")
    ciphertext = encrypt(kms, key, aad=b"")
    kms.as_("key-admin").call("KeyService", "RotateKey", {"name": key})
    moved = use(kms, "ReEncrypt", name=key, ciphertext=ciphertext)
    assert (moved["source_name"], moved["name"]) == (f"{key}/versions/1", f"{key}/versions/2")
    assert unb64(use(kms, "Decrypt", name=key, ciphertext=moved["ciphertext"])["plaintext"]) == DATA


@pytest.mark.parametrize(("asked", "size"), [(0, 32), (16, 16), (32, 32), (64, 64)])
def test_data_key_comes_in_clear_only_if_asked_for(kms, keys, asked, size):
    key = keys["ENCRYPT_DECRYPT"]
    sealed = use(kms, "GenerateDataKey", name=key, byte_count=asked)
    assert "plaintext" not in sealed
    assert len(unb64(use(kms, "Decrypt", name=key, ciphertext=sealed["ciphertext"])["plaintext"])) == size
    both = use(kms, "GenerateDataKey", name=key, byte_count=asked, with_plaintext=True)
    opened = use(kms, "Decrypt", name=key, ciphertext=both["ciphertext"])
    assert opened["plaintext"] == both["plaintext"]


@pytest.mark.parametrize("size", [-1, 1, 15, 24, 65])
def test_data_keys_of_other_sizes_are_refused(kms, keys, size):
    with pytest.raises(CallInvalid, match="16, 32 or 64"):
        use(kms, "GenerateDataKey", name=keys["ENCRYPT_DECRYPT"], byte_count=size)


@pytest.mark.parametrize("size", [1, 1024])
def test_random_bytes_have_a_checksum(kms, size):
    answer = use(kms, "GenerateRandom", name=PROD, byte_count=size)
    data = unb64(answer["data"])
    assert (len(data), answer["data_crc32c"]) == (size, google_crc32c.value(data))


@pytest.mark.parametrize("size", [-1, 0, 1025])
def test_random_bytes_have_a_limit(kms, size):
    with pytest.raises(CallInvalid) as caught:
        use(kms, "GenerateRandom", name=PROD, byte_count=size)
    assert caught.value.violations[0][0] == "byte_count"


def test_raw_ciphertext_is_plain_aes_gcm(kms):
    key = kms.make_key("raw", "RAW_ENCRYPT_DECRYPT")
    made = use(kms, "RawEncrypt", name=key, plaintext=b64(DATA), additional_authenticated_data=b64(AAD))
    assert [len(unb64(made[part])) for part in ("nonce", "ciphertext", "tag")] == [12, len(DATA), 16]
    parts = {part: made[part] for part in ("nonce", "ciphertext", "tag")}
    opened = use(kms, "RawDecrypt", name=key, additional_authenticated_data=b64(AAD), **parts)
    assert unb64(opened["plaintext"]) == DATA
    with pytest.raises(CallInvalid) as caught:
        use(kms, "RawDecrypt", name=key, **parts)
    assert caught.value.reason == "DECRYPTION_FAILED"


def test_raw_ciphertext_of_nothing_is_a_tag(kms, keys):
    key = keys["RAW_ENCRYPT_DECRYPT"]
    made = use(kms, "RawEncrypt", name=key, plaintext="")
    assert "ciphertext" not in made
    opened = use(kms, "RawDecrypt", name=key, nonce=made["nonce"], tag=made["tag"])
    assert opened == {"name": f"{key}/versions/1"}


def public_key(kms, key, form="DER", **more):
    return use(kms, "GetPublicKey", name=key, format=f"PUBLIC_KEY_FORMAT_{form}", **more)


@pytest.mark.parametrize("label", [b"", b"label"])
def test_anybody_encrypts_to_a_public_key(kms, keys, label):
    key = keys["ASYMMETRIC_DECRYPT"]
    spki = load_der_public_key(unb64(public_key(kms, key)["public_key"]))
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label or None)
    outside = b64(spki.encrypt(DATA, oaep))
    inside = use(kms, "AsymmetricEncrypt", name=key, plaintext=b64(DATA), label=b64(label))["ciphertext"]
    for ciphertext in (outside, inside):
        opened = use(
            kms, "AsymmetricDecrypt", name=f"{key}/versions/1", ciphertext=ciphertext, label=b64(label)
        )
        assert opened["plaintext"] == b64(DATA)
    with pytest.raises(CallInvalid):
        use(kms, "AsymmetricDecrypt", name=key, ciphertext=outside, label=b64(b"other"))


@pytest.mark.parametrize("data", [{"message": b64(DATA)}, {"digest": b64(hashlib.sha384(DATA).digest())}])
def test_signature_verifies_here_and_elsewhere(kms, keys, data):
    key = keys["ASYMMETRIC_SIGN"]
    signed = use(kms, "Sign", name=key, **data)
    assert signed["name"] == f"{key}/versions/1"
    assert use(kms, "Verify", name=signed["name"], signature=signed["signature"], **data) == {
        "name": signed["name"]
    }
    spki = load_pem_public_key(unb64(public_key(kms, key, "PEM")["public_key"]))
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    spki.verify(unb64(signed["signature"]), DATA, pss, hashes.SHA384())
    with pytest.raises(CallInvalid) as caught:
        use(kms, "Verify", name=key, signature=signed["signature"], message=b64(b"other"))
    assert caught.value.reason == "SIGNATURE_INVALID"


def test_signing_needs_a_message_or_a_digest(kms, keys):
    with pytest.raises(CallInvalid) as caught:
        use(kms, "Sign", name=keys["ASYMMETRIC_SIGN"])
    assert caught.value.violations[0][0] == "data"


def test_public_key_in_each_format(kms, keys):
    key = keys["ASYMMETRIC_SIGN"]
    der = public_key(kms, key)
    assert der["algorithm"] == "KEY_ALGORITHM_RSA_PSS_2048_SHA384"
    assert der["public_key_crc32c"] == google_crc32c.value(unb64(der["public_key"]))
    numbers = load_der_public_key(unb64(der["public_key"])).public_numbers()
    assert use(kms, "GetPublicKey", name=key) == public_key(kms, key, "PEM")
    assert unb64(public_key(kms, key, "PEM")["public_key"]).startswith(b"-----BEGIN PUBLIC KEY-----\n")
    jwk = json.loads(unb64(public_key(kms, key, "JWK")["public_key"]))
    assert {name: jwk[name] for name in ("kty", "use", "alg", "kid", "e")} == {
        "kty": "RSA",
        "use": "sig",
        "alg": "PS384",
        "kid": f"{key}/versions/1",
        "e": "AQAB",
    }
    assert int.from_bytes(base64.urlsafe_b64decode(jwk["n"] + "=="), "big") == numbers.n
    with pytest.raises(CallInvalid):
        use(kms, "GetPublicKey", name=key, format=9)


def test_code_is_hmac_and_verifies(kms, keys):
    key = keys["MAC"]
    made = use(kms, "Mac", name=key, message=b64(DATA))
    assert len(unb64(made["mac"])) == hmac.new(b"", b"", "sha256").digest_size
    assert use(kms, "MacVerify", name=key, message=b64(DATA), mac=made["mac"]) == {"name": made["name"]}
    with pytest.raises(CallInvalid) as caught:
        use(kms, "MacVerify", name=key, message=b64(b"other"), mac=made["mac"])
    assert caught.value.reason == "MAC_INVALID"


WRONG_PURPOSES = [
    ("Encrypt", "MAC", {"plaintext": "YQ=="}),
    ("Encrypt", "RAW_ENCRYPT_DECRYPT", {"plaintext": "YQ=="}),
    ("RawEncrypt", "ENCRYPT_DECRYPT", {"plaintext": "YQ=="}),
    ("AsymmetricEncrypt", "ASYMMETRIC_SIGN", {"plaintext": "YQ=="}),
    ("Sign", "ASYMMETRIC_DECRYPT", {"message": "YQ=="}),
    ("Mac", "ENCRYPT_DECRYPT", {"message": "YQ=="}),
    ("GetPublicKey", "MAC", {}),
]


@pytest.mark.parametrize(("method", "purpose", "request_"), WRONG_PURPOSES)
def test_key_does_only_what_it_is_for(kms, keys, method, purpose, request_):
    with pytest.raises(CallWrongState):
        use(kms, method, name=keys[purpose], **request_)


@pytest.mark.parametrize("who", ["admin", "author", "key-admin", "auditor", "web", "stranger", "operator"])
def test_use_needs_the_role_and_denied_and_missing_are_told_alike(kms, keys, who):
    failures = []
    for name in (keys["ENCRYPT_DECRYPT"], f"{PROD}/keys/missing"):
        with pytest.raises(CallDenied) as caught:
            use(kms, "Encrypt", who, name=name, plaintext="YQ==")
        failures.append((caught.value.message, caught.value.reason, dict(caught.value.metadata)))
    assert failures[0] == failures[1]


def test_compromised_version_decrypts_for_who_knows(kms):
    key = kms.make_key("leaked")
    ciphertext = encrypt(kms, key, aad=b"")
    version = {"name": f"{key}/versions/1"}
    kms.as_("key-admin").call("KeyService", "MarkKeyVersionCompromised", version)
    with pytest.raises(CallWrongState, match="allow_compromised"):
        use(kms, "Decrypt", name=key, ciphertext=ciphertext)
    opened = use(kms, "Decrypt", name=key, ciphertext=ciphertext, allow_compromised=True)
    assert unb64(opened["plaintext"]) == DATA
    with pytest.raises(CallWrongState):
        encrypt(kms, key)


LIMITS = [
    ("Encrypt", "ENCRYPT_DECRYPT", "plaintext", 64 * 1024),
    ("Encrypt", "ENCRYPT_DECRYPT", "additional_authenticated_data", 16 * 1024),
    ("RawEncrypt", "RAW_ENCRYPT_DECRYPT", "plaintext", 64 * 1024),
    ("AsymmetricEncrypt", "ASYMMETRIC_DECRYPT", "plaintext", 256 - 2 * 32 - 2),
    ("Mac", "MAC", "message", 64 * 1024),
    ("Sign", "ASYMMETRIC_SIGN", "message", 64 * 1024),
]


@pytest.mark.parametrize(("method", "purpose", "field", "limit"), LIMITS)
def test_limits_are_named(kms, keys, method, purpose, field, limit):
    use(kms, method, name=keys[purpose], **{field: b64(b"x" * limit)})
    with pytest.raises(CallInvalid) as caught:
        use(kms, method, name=keys[purpose], **{field: b64(b"x" * (limit + 1))})
    assert (caught.value.reason, caught.value.violations[0][0]) == ("LIMIT_EXCEEDED", field)


def checksum_fields(message):
    return [name for name in message.DESCRIPTOR.fields_by_name if name.endswith("_crc32c")]


WITH_CHECKSUMS = [
    ("Encrypt", "ENCRYPT_DECRYPT", {"plaintext": DATA, "additional_authenticated_data": AAD}),
    ("GenerateDataKey", "ENCRYPT_DECRYPT", {"additional_authenticated_data": AAD}),
    ("RawEncrypt", "RAW_ENCRYPT_DECRYPT", {"plaintext": DATA, "additional_authenticated_data": AAD}),
    ("AsymmetricEncrypt", "ASYMMETRIC_DECRYPT", {"plaintext": DATA, "label": AAD}),
    ("Sign", "ASYMMETRIC_SIGN", {"message": DATA}),
    ("Mac", "MAC", {"message": DATA}),
]


@pytest.mark.parametrize(("method", "purpose", "inputs"), WITH_CHECKSUMS)
def test_checksums_are_checked_and_given_back(kms, keys, method, purpose, inputs):
    request = {"name": keys[purpose]} | {field: b64(value) for field, value in inputs.items()}
    checked = {f"{field}_crc32c": google_crc32c.value(value) for field, value in inputs.items()}
    given = checksum_fields(getattr(pb, f"{method}Response"))
    assert given
    assert set(given).isdisjoint(use(kms, method, **request))
    for field, crc in checked.items():
        answer = use(kms, method, **request, **{field: crc})
        for name in given:
            value = unb64(answer.get(name.removesuffix("_crc32c"), ""))
            assert answer[name] == google_crc32c.value(value)
        with pytest.raises(CallInvalid) as caught:
            use(kms, method, **request, **{field: crc ^ 1})
        assert caught.value.reason == "CHECKSUM_MISMATCH"
        assert caught.value.violations[0][0] == field.removesuffix("_crc32c")


def test_every_checksum_is_of_a_field_that_there_is():
    messages = [getattr(pb, name) for name in pb.DESCRIPTOR.message_types_by_name]
    found = [(message, name) for message in messages for name in checksum_fields(message)]
    assert len(found) > 30
    for message, name in found:
        assert name.removesuffix("_crc32c") in message.DESCRIPTOR.fields_by_name


def test_name_that_is_no_key_is_refused(kms, keys):
    for method, name in (
        ("Encrypt", f"{keys['ENCRYPT_DECRYPT']}/versions/1"),
        ("Decrypt", f"{keys['ENCRYPT_DECRYPT']}/versions/1"),
        ("Sign", "keys/a"),
        ("Sign", f"{keys['ASYMMETRIC_SIGN']}/versions/0"),
        ("GenerateRandom", keys["MAC"]),
        ("Mac", ""),
    ):
        with pytest.raises(CallInvalid) as caught:
            use(kms, method, name=name)
        assert caught.value.violations[0][0] == "name"
