"""What is asked of a KMS for published vectors.

A service draws its nonces itself. So what it encrypts is compared with the inner function (the one that takes
a nonce) under the nonce it drew, and the inner function with the vector.
"""

from collections.abc import Sequence

from blindfold.secret import SecretBytes
from kms.client.errors import CallFailed
from kms.client.vectors.bench import Bench
from kms.client.vectors.case import Expect, MacCase, OaepCase, PssCase, RawCase
from kms.client.vectors.verdict import PASSED, judge
from kms.crypto.aead import AeadKey
from kms.errors import DecryptionFailed, InvalidField, MacInvalid, SignatureInvalid
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.names import KeyName
from protos.kms.v1 import crypto_pb2 as pb

DECRYPTION = (DecryptionFailed.reason,)
# A ciphertext of another length than the modulus is a bad field.
RSA_DECRYPTION = (DecryptionFailed.reason, InvalidField.reason)


def check_raw(bench: Bench, cases: Sequence[RawCase]) -> list[str]:
    """Decryption, and encryption of what is valid."""
    key = bench.imported(cases[0].algorithm, cases[0].key, Purpose.RAW_ENCRYPT_DECRYPT).key_name
    requests = [
        pb.RawDecryptRequest(
            nonce=case.nonce,
            ciphertext=case.ciphertext,
            tag=case.tag,
            additional_authenticated_data=case.aad,
        )
        for case in cases
    ]
    answers = bench.batch("RawDecrypt", key, requests)
    verdicts = [
        judge(case, answer, DECRYPTION, "plaintext", case.message)
        for case, answer in zip(cases, answers, strict=True)
    ]
    encrypted = _raw_encryption(bench, key, cases)
    return [verdict or encrypted.get(case, PASSED) for case, verdict in zip(cases, verdicts, strict=True)]


def _raw_encryption(bench: Bench, key: KeyName, cases: Sequence[RawCase]) -> dict[RawCase, str]:
    """Verdicts on the encryption of the valid ones."""
    valid = [case for case in cases if case.expect is Expect.VALID]
    if not valid:
        return {}
    requests = [
        pb.RawEncryptRequest(plaintext=case.message, additional_authenticated_data=case.aad) for case in valid
    ]
    inner = AeadKey(ALGORITHMS[cases[0].algorithm], SecretBytes(cases[0].key))
    answers = bench.batch("RawEncrypt", key, requests)
    return {case: _encrypts(inner, case, answer) for case, answer in zip(valid, answers, strict=True)}


def _encrypts(inner: AeadKey, case: RawCase, answer: pb.RawEncryptResponse | CallFailed) -> str:
    stated = (case.nonce, case.ciphertext, case.tag)
    if inner._raw_encrypt_with(case.message, case.aad, nonce=case.nonce) != stated:
        return "the inner function encrypts it to something else"
    if isinstance(answer, CallFailed):
        return f"encryption refused with {answer.reason or answer.message}"
    made = (answer.nonce, answer.ciphertext, answer.tag)
    if inner._raw_encrypt_with(case.message, case.aad, nonce=answer.nonce) != made:
        return "the service encrypts it otherwise than the inner function"
    return PASSED


def check_oaep(bench: Bench, cases: Sequence[OaepCase]) -> list[str]:
    """Decryption: what RSAES-OAEP encrypts is never the same twice."""
    version = bench.imported(cases[0].algorithm, cases[0].key)
    requests = [pb.AsymmetricDecryptRequest(ciphertext=case.ciphertext, label=case.label) for case in cases]
    answers = bench.batch("AsymmetricDecrypt", version.key_name, requests)
    return [
        judge(case, answer, RSA_DECRYPTION, "plaintext", case.message)
        for case, answer in zip(cases, answers, strict=True)
    ]


def check_pss(bench: Bench, cases: Sequence[PssCase]) -> list[str]:
    """Verification by a version that holds the public key alone."""
    version = bench.import_public(bench.new_key(cases[0].algorithm), cases[0].key)
    requests = [
        pb.VerifyRequest(name=str(version), message=case.message, signature=case.signature) for case in cases
    ]
    answers = bench.batch("Verify", version.key_name, requests)
    return [
        judge(case, answer, [SignatureInvalid.reason]) for case, answer in zip(cases, answers, strict=True)
    ]


def check_mac(bench: Bench, cases: Sequence[MacCase]) -> list[str]:
    """Verification, and the code that the service makes itself: it must be the valid one, and no other."""
    key = bench.imported(cases[0].algorithm, cases[0].key).key_name
    verified = bench.batch(
        "MacVerify", key, [pb.MacVerifyRequest(message=case.message, mac=case.code) for case in cases]
    )
    made = bench.batch("Mac", key, [pb.MacRequest(message=case.message) for case in cases])
    return [
        judge(case, answer, [MacInvalid.reason]) or _makes(case, code)
        for case, answer, code in zip(cases, verified, made, strict=True)
    ]


def _makes(case: MacCase, answer: pb.MacResponse | CallFailed) -> str:
    if isinstance(answer, CallFailed):
        return f"making the code was refused with {answer.reason or answer.message}"
    return PASSED if (answer.mac == case.code) == (case.expect is Expect.VALID) else "another code"
