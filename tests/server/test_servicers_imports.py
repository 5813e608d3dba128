"""Key material in, out and across over the wire."""

import base64
import hashlib
import uuid

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from server.kms_harness import PROD

from kms.client.errors import CallDenied, CallInvalid, CallNotFound, CallWrongState
from kms.crypto.key_wrapping import proof_message

SERVICE = "ImportService"
AES_KEY = bytes(range(32))
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


def call(kms, method, who="key-admin", **request):
    return kms.as_(who).call(SERVICE, method, request)


def use(kms, method, **request):
    return kms.as_("key-user").call("CryptoService", method, request)


def new_id():
    return f"k-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module", autouse=True)
def allowed(kms):
    return kms.allow_keys()


@pytest.fixture(scope="module")
def holder():
    """A key pair of a caller's own."""
    return rsa.generate_private_key(65537, 3072)


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def wrap(kms, material):
    """What a caller makes of an import key and material of his own, with nothing of ours."""
    made = call(kms, "CreateImportKey", parent=PROD)
    ephemeral = AESGCM.generate_key(256)
    oaep = load_der_public_key(unb64(made["public_key"])).encrypt(ephemeral, OAEP)
    wrapped = oaep + aes_key_wrap_with_padding(ephemeral, material)
    return {"import_key": made["name"], "wrapped_key": b64(wrapped)}


def export(kms, name, holder, nonce=None, **changed):
    nonce = nonce or unb64(call(kms, "BeginExport", "key-user", name=name)["nonce"])
    message = proof_message(nonce, name, hashlib.sha256(spki(holder)).digest())
    request = {
        "name": name,
        "nonce": b64(nonce),
        "public_key": b64(spki(holder)),
        "signature": b64(holder.sign(message, PSS, hashes.SHA256())),
    }
    return call(kms, "ExportKeyVersion", "key-user", **request | changed)


def test_import_key_is_of_a_day(kms):
    made = call(kms, "CreateImportKey", parent=PROD)
    assert made["name"].startswith(f"{PROD}/importKeys/")
    assert load_der_public_key(unb64(made["public_key"])).key_size == 3072
    assert made["create_time"] < made["expire_time"]


def test_imported_key_opens_what_was_encrypted_elsewhere(kms):
    key = kms.make_key(new_id(), "RAW_ENCRYPT_DECRYPT", skip_initial_version=True)
    assert "primary_version" not in kms.as_("key-admin").call("KeyService", "GetKey", {"name": key})
    made = call(kms, "ImportKeyVersion", parent=key, wrapped=wrap(kms, AES_KEY), make_primary=True)
    assert {field: made.get(field) for field in ("name", "state", "origin", "primary", "public_only")} == {
        "name": f"{key}/versions/1",
        "state": "KEY_VERSION_STATE_ENABLED",
        "origin": "KEY_ORIGIN_IMPORTED",
        "primary": True,
        "public_only": None,
    }
    sealed = AESGCM(AES_KEY).encrypt(bytes(12), b"elsewhere", b"aad")
    opened = use(
        kms,
        "RawDecrypt",
        name=key,
        nonce=b64(bytes(12)),
        ciphertext=b64(sealed[:-16]),
        tag=b64(sealed[-16:]),
        additional_authenticated_data=b64(b"aad"),
    )
    assert unb64(opened["plaintext"]) == b"elsewhere"


def test_import_key_serves_once(kms):
    key, wrapped = kms.make_key(new_id()), wrap(kms, AES_KEY)
    assert "primary" not in call(kms, "ImportKeyVersion", parent=key, wrapped=wrapped)
    with pytest.raises(CallNotFound):
        call(kms, "ImportKeyVersion", parent=key, wrapped=wrapped)


def test_private_rsa_key_is_imported_as_pkcs8(kms, holder):
    pkcs8 = holder.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = kms.make_key(new_id(), "ASYMMETRIC_SIGN", skip_initial_version=True)
    call(kms, "ImportKeyVersion", parent=key, wrapped=wrap(kms, pkcs8), make_primary=True)
    signed = use(kms, "Sign", name=key, message=b64(b"m"))
    holder.public_key().verify(unb64(signed["signature"]), b"m", PSS, hashes.SHA256())


def test_public_key_alone_verifies_and_does_no_more(kms, holder):
    key = kms.make_key(new_id(), "ASYMMETRIC_SIGN", skip_initial_version=True)
    made = call(kms, "ImportKeyVersion", parent=key, public_key=b64(spki(holder)))
    assert (made["public_only"], made["origin"]) == (True, "KEY_ORIGIN_IMPORTED_PUBLIC")
    signature = b64(holder.sign(b"m", PSS, hashes.SHA256()))
    verified = use(kms, "Verify", name=made["name"], message=b64(b"m"), signature=signature)
    assert verified == {"name": made["name"]}
    with pytest.raises(CallWrongState):
        use(kms, "Sign", name=made["name"], message=b64(b"m"))
    with pytest.raises(CallWrongState):
        call(kms, "ImportKeyVersion", parent=key, public_key=b64(spki(holder)), make_primary=True)


def test_algorithm_may_be_another_of_the_purpose(kms):
    key = kms.make_key(new_id(), skip_initial_version=True)
    made = call(kms, "ImportKeyVersion", parent=key, algorithm="KEY_ALGORITHM_AES_128_GCM",
                wrapped=wrap(kms, AES_KEY[:16]))  # fmt: skip
    assert made["algorithm"] == "KEY_ALGORITHM_AES_128_GCM"


@pytest.mark.parametrize("request_", [{}, {"public_key": ""}, {"public_key": b64(b"none")}])
def test_import_needs_material(kms, request_):
    key = kms.make_key(new_id(), "ASYMMETRIC_SIGN", skip_initial_version=True)
    with pytest.raises(CallInvalid):
        call(kms, "ImportKeyVersion", parent=key, **request_)


def test_import_is_of_key_admins(kms):
    key = kms.make_key(new_id())
    for who in ("key-user", "author", "admin", "stranger"):
        with pytest.raises(CallDenied):
            call(kms, "CreateImportKey", who, parent=PROD)
        with pytest.raises(CallDenied):
            call(kms, "ImportKeyVersion", who, parent=key, public_key="YQ==")


def test_low_key_leaves_for_who_proves_to_hold_the_recipient(kms, holder):
    key = kms.make_key(new_id(), "RAW_ENCRYPT_DECRYPT", sensitivity="SENSITIVITY_LOW")
    name = f"{key}/versions/1"
    exported = export(kms, name, holder)
    assert (exported["name"], exported["algorithm"]) == (name, "KEY_ALGORITHM_AES_256_GCM")
    wrapped = unb64(exported["wrapped_key"])
    aes_key = aes_key_unwrap_with_padding(holder.decrypt(wrapped[:384], OAEP), wrapped[384:])
    made = use(kms, "RawEncrypt", name=key, plaintext=b64(b"inside"))
    sealed = unb64(made["ciphertext"]) + unb64(made["tag"])
    assert AESGCM(aes_key).decrypt(unb64(made["nonce"]), sealed, b"") == b"inside"
    version = kms.as_("key-admin").call("KeyService", "GetKeyVersion", {"name": name})
    assert int(version["nonce_budget"]["invocations"]) >= 1 << 14


def test_export_needs_its_own_nonce_and_signature(kms, holder):
    name = f"{kms.make_key(new_id(), sensitivity='SENSITIVITY_LOW')}/versions/1"
    nonce = unb64(call(kms, "BeginExport", "key-user", name=name)["nonce"])
    with pytest.raises(CallInvalid) as caught:
        export(kms, name, holder, signature=b64(bytes(384)))
    assert caught.value.reason == "SIGNATURE_INVALID"
    export(kms, name, holder, nonce)
    for used in (nonce, bytes(32)):
        with pytest.raises(CallInvalid, match="nonce"):
            export(kms, name, holder, used)


def test_medium_key_does_not_leave(kms):
    name = f"{kms.make_key(new_id())}/versions/1"
    with pytest.raises(CallWrongState, match="LOW"):
        call(kms, "BeginExport", "key-user", name=name)
    with pytest.raises(CallDenied):
        call(kms, "BeginExport", "key-admin", name=name)


def test_copy_goes_to_a_key_of_at_least_its_sensitivity(kms):
    low, high = kms.make_key(new_id(), sensitivity="SENSITIVITY_LOW"), kms.make_key(new_id())
    copied = call(kms, "CopyKey", source=f"{low}/versions/1", destination=high, make_primary=True)
    assert (copied["name"], copied["origin"], copied["primary"], copied["sensitivity"]) == (
        f"{high}/versions/2",
        "KEY_ORIGIN_COPIED",
        True,
        "SENSITIVITY_MEDIUM",
    )
    with pytest.raises(CallWrongState):
        call(kms, "CopyKey", source=f"{high}/versions/1", destination=low)
    with pytest.raises(CallInvalid) as caught:
        call(kms, "CopyKey", source=low, destination=high)
    assert caught.value.violations[0][0] == "source"
