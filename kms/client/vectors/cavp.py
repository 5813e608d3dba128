"""NIST's CAVP response files (`.rsp`): AES-GCM and RSASSA-PSS.

Comments at the head say what a file is of; `[name = value]` holds for all that follows; a paragraph of
`name = value` lines is a record. One without the field that every case has holds for those that follow.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from kms.client.vectors.case import Case, Expect, Parsed, PssCase, RawCase, Reason, VectorsUnreadable, octets
from kms.crypto.public_keys import from_numbers
from kms.crypto.rsa_keys import EXPONENT
from kms.errors import InvalidField
from kms.model.algorithms import ALGORITHMS, MAX_PLAINTEXT

Fields = Mapping[str, str]

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_SECTION = re.compile(r"^\[(\w+) *= *([^\]\n]*?)[ \t]*\]", re.MULTILINE)
_FIELD = re.compile(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_COUNT = re.compile(r"^count[ \t]*=", re.MULTILINE | re.IGNORECASE)
_HEAD = re.compile(r"^#.*$", re.MULTILINE)
_FAIL = re.compile(r"^FAIL[ \t]*$", re.MULTILINE)
_SALT = re.compile(r"Salt len: (\d+)")
_HASHES = MappingProxyType({"SHA256": 32, "SHA384": 48, "SHA512": 64})


def parse(text: str) -> Parsed:
    """The cases of a file. Raises `VectorsUnreadable`."""
    text = text.replace("\r\n", "\n")
    head = "\n".join(_HEAD.findall(text))
    for mark, (field, read) in _KINDS.items():
        if mark in head:
            salt = _SALT.search(head)
            shared = {"salt length": salt[1]} if salt else {}
            return Parsed.sort(map(read, _records(text, field, shared)))
    return Parsed((), {Reason.ALGORITHM: _count(text)})


def _records(text: str, field: str, shared: dict[str, str]) -> Iterator[Fields]:
    """The paragraphs with a field of that name, each with what holds for it."""
    for paragraph in _PARAGRAPH.split(text):
        shared |= dict(_SECTION.findall(paragraph))
        found = dict(_FIELD.findall(paragraph))
        if field not in found:
            shared |= found
            continue
        yield {**shared, **found, **({"FAIL": ""} if _FAIL.search(paragraph) else {})}


def _count(text: str) -> int:
    """How many cases a file of another kind has: the numbered ones, or every paragraph with a field."""
    return len(_COUNT.findall(text)) or sum(bool(_FIELD.search(part)) for part in _PARAGRAPH.split(text))


def _gcm(record: Fields) -> Case | Reason:
    key, nonce, aad, ciphertext, tag = (_octets(record, name) for name in ("Key", "IV", "AAD", "CT", "Tag"))
    fails = "FAIL" in record
    case = RawCase(
        case_id=_case_id(record), expect=Expect.INVALID if fails else Expect.VALID,
        algorithm=f"AES_{8 * len(key)}_GCM", key=key, nonce=nonce, aad=aad, ciphertext=ciphertext, tag=tag,
        message=b"" if fails else _octets(record, "PT"),
    )  # fmt: skip
    return case.unsupported() or case


def _pss(record: Fields) -> Case | Reason:
    digest, modulus = record.get("SHAAlg", ""), int.from_bytes(_octets(record, "n"))
    if digest not in _HASHES:
        return Reason.HASH
    algorithm = f"RSA_PSS_{modulus.bit_length()}_{digest}"
    if algorithm not in ALGORITHMS:
        return Reason.KEY_SIZE
    if _salt_size(record) != _HASHES[digest]:
        return Reason.SALT_SIZE
    if int.from_bytes(_octets(record, "e")) != EXPONENT:
        return Reason.EXPONENT
    message = _octets(record, "Msg")
    if len(message) > MAX_PLAINTEXT:
        return Reason.LENGTH
    return PssCase(
        case_id=_case_id(record), expect=Expect.INVALID if _refused(record) else Expect.VALID,
        algorithm=algorithm, key=_spki(modulus),
        message=message, signature=_octets(record, "S"),
    )  # fmt: skip


_KINDS: Mapping[str, tuple[str, Callable[[Fields], Case | Reason]]] = MappingProxyType(
    {
        "GCM Decrypt": ("Key", _gcm),
        "GCM Encrypt": ("Key", _gcm),
        "SigVer PKCS#1 RSASSA-PSS": ("S", _pss),
        "SigGen PKCS#1 RSASSA-PSS": ("S", _pss),
    }
)


def _spki(modulus: int) -> bytes:
    try:
        return from_numbers(modulus, EXPONENT)
    except InvalidField as error:
        problem = error.message
    raise VectorsUnreadable(problem)


def _salt_size(record: Fields) -> int:
    """In bytes. A signature to verify states its salt; for generated ones the head does."""
    return len(_octets(record, "SaltVal")) if "SaltVal" in record else int(record.get("salt length", -1))


def _refused(record: Fields) -> bool:
    """A signature that was generated has no result: it holds."""
    result = record.get("Result", "P")
    if result[:1] not in ("P", "F"):
        raise VectorsUnreadable(f"the result {result!r} is neither P nor F")
    return result.startswith("F")


def _case_id(record: Fields) -> str:
    """Counts begin anew in every section, so the sizes that a section states belong to the name."""
    names = ("Keylen", "IVlen", "PTlen", "AADlen", "Taglen", "mod", "SHAAlg", "Count")
    parts = [f"{name} {record[name]}" for name in names if name in record]
    return ", ".join(parts) if "Count" in record else f"{', '.join(parts)}, S {record.get('S', '')[:16]}"


def _octets(record: Fields, name: str) -> bytes:
    text = record.get(name)
    # Some files leave the leading zero of a number out.
    return octets(text if text is None or len(text) % 2 == 0 else f"0{text}", name)
