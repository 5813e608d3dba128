"""Known answers of every primitive that the KMS rests on, asked at start-up, in well under 0.1 s.

A machine that computes wrongly must not encrypt: nothing could decrypt it elsewhere.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding

from blindfold.evaluation import Evaluator
from blindfold.private_key import PrivateKey
from blindfold.secret import SecretBytes
from kms.crypto import known_answers as known
from kms.crypto import rsa_oaep, rsa_pss
from kms.crypto.aead import AeadKey
from kms.crypto.checksum import checksum
from kms.crypto.known_answers import GcmAnswer
from kms.crypto.mac import MacKey
from kms.errors import KmsError, SelfTestFailed
from kms.model.algorithms import ALGORITHMS

Check = Callable[[], bool]


def run_self_test(checks: Mapping[str, Check] | None = None) -> None:
    """Ask every check. Raises `SelfTestFailed` with the name of the first that does not hold."""
    for name, check in (CHECKS if checks is None else checks).items():
        try:
            holds = check()
        except Exception:
            holds = False
        if not holds:
            raise SelfTestFailed(name)


def _refuses(operation: Callable[[], object]) -> bool:
    try:
        operation()
    except KmsError:
        return True
    return False


def _flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def _aes_gcm() -> bool:
    return all(map(_aes_gcm_answer, known.GCM))


def _aes_gcm_answer(answer: GcmAnswer) -> bool:
    key = AeadKey(ALGORITHMS[answer.algorithm], SecretBytes(answer.key))
    made = key._raw_encrypt_with(answer.plaintext, answer.aad, nonce=answer.nonce)
    opened = key.raw_decrypt(answer.nonce, answer.ciphertext, answer.tag, answer.aad)
    return (
        made == (answer.nonce, answer.ciphertext, answer.tag)
        and opened == answer.plaintext
        and _refuses(
            lambda: key.raw_decrypt(answer.nonce, answer.ciphertext, _flipped(answer.tag), answer.aad)
        )
    )


def _hmac() -> bool:
    key = MacKey(ALGORITHMS["HMAC_SHA256"], SecretBytes(known.HMAC_KEY))
    return key.mac(known.HMAC_MESSAGE) == known.HMAC_ANSWER and _refuses(
        lambda: key.verify(known.HMAC_MESSAGE, _flipped(known.HMAC_ANSWER))
    )


def _rsa_oaep() -> bool:
    key = rsa_oaep.load(ALGORITHMS["RSA_OAEP_2048_SHA256"], SecretBytes(known.RSA_PKCS8))
    return (
        key.decrypt(known.OAEP_CIPHERTEXT, known.OAEP_LABEL) == known.RSA_MESSAGE
        and key.decrypt(key.encrypt(known.RSA_MESSAGE)) == known.RSA_MESSAGE
        and _refuses(lambda: key.decrypt(_flipped(known.OAEP_CIPHERTEXT), known.OAEP_LABEL))
    )


def _rsa_pss() -> bool:
    key = rsa_pss.load(ALGORITHMS["RSA_PSS_2048_SHA256"], SecretBytes(known.RSA_PKCS8))
    return (
        key.verify(known.RSA_MESSAGE, known.PSS_SIGNATURE) == known.RSA_MESSAGE
        and key.verify(known.RSA_MESSAGE, key.sign(known.RSA_MESSAGE)) == known.RSA_MESSAGE
        and _refuses(lambda: key.verify(known.RSA_MESSAGE, _flipped(known.PSS_SIGNATURE)))
    )


def _aes_kwp() -> bool:
    wrapped = aes_key_wrap_with_padding(known.KWP_KEY, known.KWP_PLAINTEXT)
    unwrapped = aes_key_unwrap_with_padding(known.KWP_KEY, known.KWP_ANSWER)
    return wrapped == known.KWP_ANSWER and unwrapped == known.KWP_PLAINTEXT


def _crc32c() -> bool:
    return checksum(known.CRC32C_INPUT) == known.CRC32C_ANSWER


def _blindfold() -> bool:
    # A key for tests only: the answer does not depend on the size, and a short key answers sooner.
    key = PrivateKey(known.BLINDFOLD_P, known.BLINDFOLD_Q, test_only=True)
    answer = Evaluator(key).evaluate(known.BLINDFOLD_ELEMENT, known.BLINDFOLD_EXPONENT)
    return answer == known.BLINDFOLD_ANSWER


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "AES-GCM": _aes_gcm,
        "HMAC-SHA-256": _hmac,
        "RSA-OAEP": _rsa_oaep,
        "RSA-PSS": _rsa_pss,
        "AES-KWP": _aes_kwp,
        "CRC32C": _crc32c,
        "Blindfold's evaluation": _blindfold,
    }
)
