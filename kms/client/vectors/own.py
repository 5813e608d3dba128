"""This project's own vectors, in the form that testvectors/README.md describes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from blindfold.secret import SecretBytes
from kms.client.vectors.case import (
    Case,
    CiphertextCase,
    Expect,
    Parsed,
    PublicKeyCase,
    Reason,
    VectorsUnreadable,
    WrappingCase,
    octets,
)
from kms.crypto import rsa_keys, rsa_oaep
from kms.crypto.rsa_oaep import OaepKey
from kms.errors import DecryptionFailed, InvalidField, StoreTampered
from kms.model.algorithms import ALGORITHMS

Object = Mapping[str, Any]

REFUSALS: Mapping[str, str] = MappingProxyType(
    {kind.__name__: kind.reason for kind in (DecryptionFailed, InvalidField)}
)
IMPORT_KEY = ALGORITHMS["RSA_OAEP_3072_SHA256"]
# What may differ between a ciphertext and the one it was made from, beyond a changed length.
_MAX_CHANGED = 1


def parse(file: Object) -> Parsed:
    """The cases of a file, as JSON has it. Raises `VectorsUnreadable`."""
    tests = file.get("tests")
    if not isinstance(tests, list) or not all(isinstance(test, Mapping) for test in tests):
        raise VectorsUnreadable("tests is not a list of objects")
    if file.get("numberOfTests") != len(tests):
        raise VectorsUnreadable(f"numberOfTests is {file.get('numberOfTests')!r}; there are {len(tests)}")
    read = _SCHEMAS.get(str(file.get("schema")))
    return Parsed.sort([Reason.OFFLINE] * len(tests) if read is None else read(file, tests))


def _ciphertexts(file: Object, tests: Iterable[Object]) -> list[CiphertextCase]:
    cases = [_ciphertext(test) for test in tests]
    valid = [case for case in cases if case.expect is Expect.VALID]
    return [
        case if case.expect is Expect.VALID else replace(case, origin=_origin(case, valid)) for case in cases
    ]


def _ciphertext(test: Object) -> CiphertextCase:
    key, uid, aad, ciphertext, nonce, plaintext = (
        octets(test.get(name, ""), name) for name in ("key", "uid", "aad", "ciphertext", "nonce", "plaintext")
    )
    return CiphertextCase(
        **_common(test), key=key, uid=uid, name=str(test.get("name")), aad=aad, ciphertext=ciphertext,
        nonce=nonce, plaintext=plaintext,
    )  # fmt: skip


def _origin(case: CiphertextCase, valid: Iterable[CiphertextCase]) -> CiphertextCase | None:
    """The valid case under the same key that this one was changed from."""
    for other in valid:
        if other.group == case.group and _resembles(case.ciphertext, other.ciphertext):
            return other
    return None


def _resembles(changed: bytes, whole: bytes) -> bool:
    """Whether one is the other with a changed byte, cut off at an end, or extended."""
    if len(changed) == len(whole):
        return sum(a != b for a, b in zip(changed, whole, strict=True)) <= _MAX_CHANGED
    return changed.startswith(whole) or whole.startswith(changed) or whole.endswith(changed)


def _wrappings(file: Object, tests: Iterable[Object]) -> Iterable[Case | Reason]:
    private = octets(file.get("private_key"), "private_key")
    try:
        size = rsa_keys.load_own(SecretBytes(private)).key_size
    except StoreTampered:
        size = 0
    if size != IMPORT_KEY.key_bits:
        raise VectorsUnreadable(f"private_key is not RSA of {IMPORT_KEY.key_bits} bits as PKCS #8 in DER")
    key = rsa_oaep.load(IMPORT_KEY, SecretBytes(private))
    return [_wrapping(private, key, test) for test in tests]


def _wrapping(private: bytes, key: OaepKey, test: Object) -> Case | Reason:
    """A first part that is not good is one to this private key alone, so it is nothing to ask a KMS."""
    wrapped = octets(test.get("wrapped"), "wrapped")
    try:
        ephemeral = key.decrypt(wrapped[: IMPORT_KEY.key_bits // 8])
    except InvalidField:
        ephemeral = None
    except DecryptionFailed:
        return Reason.FOREIGN_KEY
    return WrappingCase(
        **_common(test), key=private, wrapped=wrapped, ephemeral=ephemeral,
        material=octets(test.get("material", ""), "material"),
    )  # fmt: skip


def _public_keys(file: Object, tests: Iterable[Object]) -> list[PublicKeyCase]:
    return [
        PublicKeyCase(**_common(test), key=octets(test.get("public_key"), "public_key")) for test in tests
    ]


_SCHEMAS: Mapping[str, Callable[[Object, Iterable[Object]], Iterable[Case | Reason]]] = MappingProxyType(
    {
        "ciphertext_schema.json": _ciphertexts,
        "key_wrapping_schema.json": _wrappings,
        "public_key_schema.json": _public_keys,
    }
)


def _common(test: Object) -> dict[str, Any]:
    number, result, algorithm = test.get("tcId"), test.get("result"), test.get("algorithm")
    if not isinstance(number, int) or result not in (Expect.VALID, Expect.INVALID):
        raise VectorsUnreadable(f"case {number!r} has no number, or the result {result!r}")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise VectorsUnreadable(f"case {number} has the unknown algorithm {algorithm!r}")
    refusal = REFUSALS.get(str(test.get("error")), "")
    if result == Expect.INVALID and not refusal:
        raise VectorsUnreadable(f"case {number} is refused with the unknown error {test.get('error')!r}")
    return {
        "case_id": f"tcId {number}", "expect": Expect(result), "algorithm": algorithm, "refusal": refusal
    }  # fmt: skip
