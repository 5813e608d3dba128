"""What is asked of a KMS for this project's own vectors.

They are bound to names, uids and private keys that a KMS chooses itself. So each case is moved to the key
that was made for it: what is bound is bound anew, and what an invalid case breaks is broken in the same way.
"""

from collections.abc import Callable, Sequence
from operator import xor

from blindfold.secret import SecretBytes
from kms.client.errors import CallFailed, CallInvalid
from kms.client.transfers import ImportKey
from kms.client.vectors.bench import Bench
from kms.client.vectors.case import CiphertextCase, Expect, PublicKeyCase, WrappingCase
from kms.client.vectors.own import IMPORT_KEY
from kms.client.vectors.verdict import PASSED, judge
from kms.crypto import rsa_oaep
from kms.crypto.aead import NONCE_SIZE, TAG_SIZE, AeadKey
from kms.crypto.ciphertext import OVERHEAD, VersionCipher, parse
from kms.crypto.key_handle import load
from kms.crypto.key_wrapping import Unwrapper
from kms.crypto.mac import MacKey
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyVersionName
from protos.kms.v1 import crypto_pb2 as pb

HEADER_SIZE = OVERHEAD - NONCE_SIZE - TAG_SIZE
VERSION_FIELD = slice(HEADER_SIZE - 4, HEADER_SIZE)
MESSAGE = b"which key is it?"


def check_ciphertexts(bench: Bench, cases: Sequence[CiphertextCase]) -> list[str]:
    """Encryption and decryption, at a key with the vectors' bytes."""
    version = bench.imported(cases[0].algorithm, cases[0].key)
    # Another version with the same bytes: only what is bound tells their ciphertexts apart.
    bench.import_material(version.key_name, cases[0].key, make_primary=False)
    inner = AeadKey(ALGORITHMS[cases[0].algorithm], SecretBytes(cases[0].key))
    valid = [case for case in cases if case.expect is Expect.VALID]
    place, header = _place(bench, version, inner)
    requests = [
        pb.DecryptRequest(ciphertext=_moved(case, place, header), additional_authenticated_data=case.aad)
        for case in cases
    ]
    answers = bench.batch("Decrypt", version.key_name, requests)
    encrypted = dict(zip(valid, _encryption(bench, version, place, valid), strict=True))
    return [
        judge(case, answer, [case.refusal], "plaintext", case.plaintext)
        or _inner(inner, case)
        or encrypted.get(case, PASSED)
        for case, answer in zip(cases, answers, strict=True)
    ]


def _place(bench: Bench, version: KeyVersionName, inner: AeadKey) -> tuple[VersionCipher, bytes]:
    """The inner function at the version, whose uid its ciphertexts tell, and their header."""
    [answer] = bench.batch("Encrypt", version.key_name, [pb.EncryptRequest()])
    if isinstance(answer, CallFailed):
        raise answer
    header = bytes(answer.ciphertext[:HEADER_SIZE])
    return VersionCipher(inner, version, parse(answer.ciphertext).uid), header


def _moved(case: CiphertextCase, place: VersionCipher, header: bytes) -> bytes:
    """The case's ciphertext at another place.

    One that resembles no valid one was bound elsewhere: it gets the header of this place, and no more.
    """
    origin = case if case.expect is Expect.VALID else case.origin
    if origin is None:
        return header + case.ciphertext[HEADER_SIZE:]
    whole = place._encrypt_with(origin.plaintext, origin.aad, nonce=origin.nonce)
    return _edited(whole, origin.ciphertext, case.ciphertext)


def _edited(whole: bytes, before: bytes, after: bytes) -> bytes:
    """`whole`, changed as `before` was to become `after`: a byte, an end cut off, or something appended."""
    if len(after) == len(before):
        edited = bytes(map(xor, whole, map(xor, before, after)))
        # A flipped bit would make another number of the version at this place.
        same = after[VERSION_FIELD] == before[VERSION_FIELD]
        version = whole[VERSION_FIELD] if same else after[VERSION_FIELD]
        return edited[: VERSION_FIELD.start] + version + edited[VERSION_FIELD.stop :]
    if after.startswith(before):
        return whole + after[len(before) :]
    if before.startswith(after):
        return whole[: len(after)]
    return whole[len(whole) - len(after) :]


def _inner(inner: AeadKey, case: CiphertextCase) -> str:
    """Whether the inner function gives what the vector states for the vector's own place."""
    if case.expect is not Expect.VALID:
        return PASSED
    cipher = VersionCipher(inner, KeyVersionName.parse(case.name), case.uid)
    same = cipher._encrypt_with(case.plaintext, case.aad, nonce=case.nonce) == case.ciphertext
    return PASSED if same else "the inner function encrypts it to something else"


def _encryption(
    bench: Bench, version: KeyVersionName, place: VersionCipher, valid: Sequence[CiphertextCase]
) -> list[str]:
    """What the service encrypts is what the inner function makes with the nonce that it drew."""
    if not valid:
        return []
    requests = [
        pb.EncryptRequest(plaintext=case.plaintext, additional_authenticated_data=case.aad) for case in valid
    ]
    verdicts = []
    for case, answer in zip(valid, bench.batch("Encrypt", version.key_name, requests), strict=True):
        if isinstance(answer, CallFailed):
            verdicts.append(f"encryption refused with {answer.reason or answer.message}")
            continue
        made = place._encrypt_with(case.plaintext, case.aad, nonce=parse(answer.ciphertext).nonce)
        same = made == answer.ciphertext
        verdicts.append(PASSED if same else "the service encrypts it otherwise than the inner function")
    return verdicts


def check_wrappings(bench: Bench, cases: Sequence[WrappingCase]) -> list[str]:
    """Imports. The ephemeral key is encrypted anew, to an import key; what it wraps stays as it is."""
    verdicts: list[str] = []
    towards: ImportKey | None = None
    for case in cases:
        towards = towards or bench.import_key()
        version = _import(bench, case, towards)
        if isinstance(version, KeyVersionName):
            # A success uses an import key up.
            towards = None
        verdict = judge(case, version, [case.refusal])
        if not verdict and isinstance(version, KeyVersionName):
            verdict = _unwrapped(case) or _holds(bench, version, case)
        verdicts.append(verdict)
    return verdicts


def _import(bench: Bench, case: WrappingCase, towards: ImportKey) -> KeyVersionName | CallInvalid:
    wrapped = case.wrapped
    if case.ephemeral is not None:
        recipient = rsa_oaep.load_public(IMPORT_KEY, towards.public_key, "public_key")
        first = recipient.encrypt(case.ephemeral)
        wrapped = first + wrapped[len(first) :]
    key = bench.new_key(case.algorithm)
    return _attempt(lambda: bench.import_wrapped(key, towards, wrapped))


def _unwrapped(case: WrappingCase) -> str:
    material = Unwrapper(SecretBytes(case.key)).unwrap(case.wrapped)
    return PASSED if material.reveal() == case.material else "the inner function unwraps something else"


def _holds(bench: Bench, version: KeyVersionName, case: WrappingCase) -> str:
    """Whether the version works with the vector's material."""
    key = load(ALGORITHMS[case.algorithm], SecretBytes(case.material))
    if isinstance(key, AeadKey):
        place, _ = _place(bench, version, key)
        [answer] = bench.batch("Encrypt", version.key_name, [pb.EncryptRequest(plaintext=MESSAGE)])
        made = getattr(answer, "ciphertext", b"")
        same = made == place._encrypt_with(MESSAGE, b"", nonce=made[HEADER_SIZE:][:NONCE_SIZE])
    elif isinstance(key, MacKey):
        [answer] = bench.batch("Mac", version.key_name, [pb.MacRequest(message=MESSAGE)])
        same = getattr(answer, "mac", b"") == key.mac(MESSAGE)
    else:
        same = _public_key(bench, version) == key.public_key
    return PASSED if same else "the version works with other material"


def check_public_keys(bench: Bench, cases: Sequence[PublicKeyCase]) -> list[str]:
    """Imports of public keys, which must be given out as they came."""
    return [_check_public_key(bench, case) for case in cases]


def _check_public_key(bench: Bench, case: PublicKeyCase) -> str:
    key = bench.new_key(case.algorithm)
    version = _attempt(lambda: bench.import_public(key, case.key))
    verdict = judge(case, version, [case.refusal])
    if not verdict and isinstance(version, KeyVersionName) and _public_key(bench, version) != case.key:
        return "given out as another key"
    return verdict


def _public_key(bench: Bench, version: KeyVersionName) -> bytes:
    """In DER; nothing if it is refused."""
    request = pb.GetPublicKeyRequest(name=str(version), format=pb.PUBLIC_KEY_FORMAT_DER)
    [answer] = bench.batch("GetPublicKey", version.key_name, [request])
    return bytes(getattr(answer, "public_key", b""))


def _attempt(act: Callable[[], KeyVersionName]) -> KeyVersionName | CallInvalid:
    """A refusal of the input, which is a verdict. Raises every other `CallFailed`."""
    try:
        return act()
    except CallInvalid as error:
        return error
