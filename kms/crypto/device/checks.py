"""What a token can do, found out by doing it: known answers, or answers that this process can check."""

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType

from blindfold.secret import SecretBytes
from kms.crypto import known_answers as known
from kms.crypto import rsa_keys, rsa_oaep, rsa_pss
from kms.crypto.device.lane import Lane
from kms.crypto.device.messages import Item, Operation, Request, Status
from kms.crypto.mac import MacKey
from kms.errors import SignatureInvalid
from kms.model.algorithms import ALGORITHMS, Algorithm, Family
from kms.model.device_handle import ID_SIZE

# As long as the keys that are generated: tokens refuse the shorter ones of published answers.
MAC_KEY = bytes(range(32))

# A helper that has to begin again with its module forgets what was lent.
ATTEMPTS = 3

Ask = Callable[[Operation, Item], bytes | None]


class _Forgotten(Exception):
    """The key that was lent for a test is not there any more."""


def usable_algorithms(lane: Lane) -> frozenset[str]:
    """The names of the algorithms that the token does rightly, with keys that are lent for the test.

    A family's RSA sizes share a test, whose key has 2048 bits. Raises `LaneLost`.
    """
    return frozenset(
        algorithm.name
        for algorithm in ALGORITHMS.values()
        if _holds(lane, algorithm, secrets.token_bytes(ID_SIZE))
    )


def _holds(lane: Lane, algorithm: Algorithm, key_id: bytes) -> bool:
    for _ in range(ATTEMPTS):
        try:
            return _holds_now(lane, algorithm, key_id)
        except _Forgotten:
            continue
    return False


def _holds_now(lane: Lane, algorithm: Algorithm, key_id: bytes) -> bool:
    def ask(operation: Operation, item: Item) -> bytes | None:
        [answer] = lane.ask(Request(operation, algorithm.name, key_id, [item]))
        if answer.status is Status.ABSENT:
            raise _Forgotten
        return answer.value if answer.status is Status.DONE else None

    material, check = _CHECKS[algorithm.family]
    if ask(Operation.LEND, Item(material(algorithm))) is None:
        return False
    try:
        return check(algorithm, ask)
    finally:
        ask(Operation.DESTROY, Item(b""))


def _gcm_answer(algorithm: Algorithm) -> known.GcmAnswer:
    return next(answer for answer in known.GCM if answer.algorithm == algorithm.name)


def _gcm(algorithm: Algorithm, ask: Ask) -> bool:
    answer = _gcm_answer(algorithm)
    sealed = answer.ciphertext + answer.tag
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    return (
        ask(Operation.SEAL, Item(answer.plaintext, answer.aad, answer.nonce)) == sealed
        and ask(Operation.UNSEAL, Item(sealed, answer.aad, answer.nonce)) == answer.plaintext
        and ask(Operation.UNSEAL, Item(changed, answer.aad, answer.nonce)) is None
    )


def _hmac(algorithm: Algorithm, ask: Ask) -> bool:
    made = MacKey(algorithm, SecretBytes(MAC_KEY)).mac(known.HMAC_MESSAGE)
    return ask(Operation.MAC, Item(known.HMAC_MESSAGE)) == made


def _pss(algorithm: Algorithm, ask: Ask) -> bool:
    digest = rsa_keys.digest(algorithm, known.RSA_MESSAGE)
    signature = ask(Operation.SIGN, Item(digest))
    key = rsa_pss.load(algorithm, SecretBytes(known.RSA_PKCS8))
    try:
        return signature is not None and key.verify(known.RSA_MESSAGE, signature) == known.RSA_MESSAGE
    except SignatureInvalid:
        return False


def _oaep(algorithm: Algorithm, ask: Ask) -> bool:
    key = rsa_oaep.load(algorithm, SecretBytes(known.RSA_PKCS8))
    return all(
        ask(Operation.DECRYPT, Item(key.encrypt(known.RSA_MESSAGE, label), label)) == known.RSA_MESSAGE
        for label in (b"", known.OAEP_LABEL)
    )


def _rsa_material(algorithm: Algorithm) -> bytes:
    return rsa_keys.pkcs1(SecretBytes(known.RSA_PKCS8))


_CHECKS: Mapping[Family, tuple[Callable[[Algorithm], bytes], Callable[[Algorithm, Ask], bool]]] = (
    MappingProxyType(
        {
            Family.AES_GCM: (lambda algorithm: _gcm_answer(algorithm).key, _gcm),
            Family.HMAC: (lambda algorithm: MAC_KEY, _hmac),
            Family.RSA_PSS: (_rsa_material, _pss),
            Family.RSA_OAEP: (_rsa_material, _oaep),
        }
    )
)
