"""Wycheproof's JSON: AES-GCM, RSAES-OAEP, RSASSA-PSS and HMAC-SHA-256.

A file is an object with `algorithm` and `testGroups`; a group has what its `tests` share.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from kms.client.vectors.case import (
    Case,
    Expect,
    MacCase,
    OaepCase,
    Parsed,
    PssCase,
    RawCase,
    Reason,
    VectorsUnreadable,
    octets,
)
from kms.crypto.mac import MAC_SIZE, MAX_IMPORTED_KEY, MIN_IMPORTED_KEY
from kms.crypto.rsa_keys import EXPONENT
from kms.model.algorithms import ALGORITHMS, MAX_AAD, MAX_PLAINTEXT

Object = Mapping[str, Any]
_Read = Callable[[Object, Object], Case | Reason]

_HASHES = MappingProxyType({"SHA-256": "SHA256", "SHA-384": "SHA384", "SHA-512": "SHA512"})
_WITH_PARAMETERS = "RsassaPssWithParametersVerify"


def parse(file: Object) -> Parsed:
    """The cases of a file, as JSON has it. Raises `VectorsUnreadable`."""
    read = _ALGORITHMS.get(_text(file, "algorithm"))
    other = Reason.HASH if _text(file, "algorithm").startswith("HMACSHA") else Reason.ALGORITHM
    tests = list(_tests(file))
    stated = file.get("numberOfTests", len(tests))
    if stated != len(tests):
        raise VectorsUnreadable(f"numberOfTests is {stated!r}, but there are {len(tests)}")
    return Parsed.sort(other if read is None else read(group, test) for group, test in tests)


def _tests(file: Object) -> Iterator[tuple[Object, Object]]:
    for group in _objects(file, "testGroups"):
        for test in _objects(group, "tests"):
            yield group, test


def _aead(group: Object, test: Object) -> Case | Reason:
    key, nonce, aad, message, ciphertext, tag = (
        octets(test.get(name), name) for name in ("key", "iv", "aad", "msg", "ct", "tag")
    )
    case = RawCase(
        **_common(test), algorithm=f"AES_{8 * len(key)}_GCM", key=key,
        nonce=nonce, aad=aad, ciphertext=ciphertext, tag=tag, message=message,
    )  # fmt: skip
    return case.unsupported() or case


def _oaep(group: Object, test: Object) -> Case | Reason:
    algorithm = _rsa(group, "RSA_OAEP")
    if isinstance(algorithm, Reason):
        return algorithm
    private = group.get("privateKey")
    stated = private.get("publicExponent") if isinstance(private, Mapping) else None
    if stated is not None and int.from_bytes(octets(stated, "publicExponent")) != EXPONENT:
        return Reason.EXPONENT
    label = octets(test.get("label"), "label")
    if len(label) > MAX_AAD:
        return Reason.LENGTH
    return OaepCase(
        **_common(test), algorithm=algorithm, key=octets(group.get("privateKeyPkcs8"), "privateKeyPkcs8"),
        ciphertext=octets(test.get("ct"), "ct"), label=label, message=octets(test.get("msg"), "msg"),
    )  # fmt: skip


def _pss(group: Object, test: Object) -> Case | Reason:
    if group.get("type") == _WITH_PARAMETERS:
        return Reason.PARAMETERS
    algorithm = _rsa(group, "RSA_PSS")
    if isinstance(algorithm, Reason):
        return algorithm
    if group.get("sLen") != int(algorithm.rpartition("_SHA")[2]) // 8:
        return Reason.SALT_SIZE
    message = octets(test.get("msg"), "msg")
    if len(message) > MAX_PLAINTEXT:
        return Reason.LENGTH
    return PssCase(
        **_common(test), algorithm=algorithm, key=octets(group.get("publicKeyDer"), "publicKeyDer"),
        message=message, signature=octets(test.get("sig"), "sig"),
    )  # fmt: skip


def _mac(group: Object, test: Object) -> Case | Reason:
    key, message, code = (octets(test.get(name), name) for name in ("key", "msg", "tag"))
    if not MIN_IMPORTED_KEY <= len(key) <= MAX_IMPORTED_KEY:
        return Reason.KEY_SIZE
    if len(code) != MAC_SIZE:
        return Reason.SHORT_CODE
    if len(message) > MAX_PLAINTEXT:
        return Reason.LENGTH
    return MacCase(**_common(test), algorithm="HMAC_SHA256", key=key, message=message, code=code)


_ALGORITHMS: Mapping[str, _Read] = MappingProxyType(
    {"AES-GCM": _aead, "RSAES-OAEP": _oaep, "RSASSA-PSS": _pss, "HMACSHA256": _mac}
)


def _rsa(group: Object, family: str) -> str | Reason:
    """The algorithm of a group by its hashes and size."""
    digest = _HASHES.get(_text(group, "sha"))
    if digest is None:
        return Reason.HASH
    if group.get("mgfSha") != group["sha"]:
        return Reason.MASK_HASH
    algorithm = f"{family}_{group.get('keySize')}_{digest}"
    return algorithm if algorithm in ALGORITHMS else Reason.KEY_SIZE


def _common(test: Object) -> dict[str, Any]:
    number, result = test.get("tcId"), test.get("result")
    if not isinstance(number, int) or result not in list(Expect):
        raise VectorsUnreadable(f"case {number!r} has no number, or the result {result!r}")
    return {"case_id": f"tcId {number}", "expect": Expect(result)}


def _objects(value: Object, name: str) -> list[Object]:
    items = value.get(name)
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise VectorsUnreadable(f"{name} is not a list of objects")
    return items


def _text(value: Object, name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise VectorsUnreadable(f"{name} is not a string")
    return text
