"""Vectors of the labels-and-roles extension. The DER is put together here by hand, not by what is tested."""

from collections.abc import Iterable, Mapping

from testvectors.vectorfile import VectorFile

INTEGER, UTF8, PRINTABLE, SEQUENCE, SET = 0x02, 0x0C, 0x13, 0x30, 0x31

NOTES = {
    "Valid": "The DER decodes to these labels and roles, and encodes to the same bytes.",
    "Encoding": "A length or an integer is not in its shortest form, or the length is indefinite.",
    "Structure": "A field is missing, of another type, or too many; or bytes follow.",
    "Order": "Labels or roles are not in strictly rising order of their bytes.",
    "Syntax": "A key, value or role is not of the syntax that the specification gives.",
    "Limit": "More labels, roles or bytes than allowed.",
    "Version": "The version is not 1.",
}


def generate() -> dict[str, str]:
    """Path below the repository's root -> text."""
    return {"testvectors/identity/attributes.json": attributes().text()}


def tlv(tag: int, content: bytes) -> bytes:
    """Tag, shortest definite length, content (X.690, section 10.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def text(value: str, tag: int = UTF8) -> bytes:
    return tlv(tag, value.encode())


def labels_der(pairs: Iterable[tuple[str, str]]) -> bytes:
    return tlv(SEQUENCE, b"".join(tlv(SEQUENCE, text(key) + text(value)) for key, value in pairs))


def roles_der(roles: Iterable[str]) -> bytes:
    return tlv(SEQUENCE, b"".join(text(role) for role in roles))


def extension(pairs: Iterable[tuple[str, str]] = (), roles: Iterable[str] = (), version: int = 1) -> bytes:
    return tlv(SEQUENCE, tlv(INTEGER, bytes([version])) + labels_der(pairs) + roles_der(roles))


def attributes() -> VectorFile:
    file = VectorFile("labels-and-roles extension", "attributes_schema.json", NOTES)
    _valid(file)
    _encoding(file)
    _structure(file)
    _content(file)
    return file


def _valid(file: VectorFile) -> None:
    cases: list[tuple[str, Mapping[str, str], list[str]]] = [
        ("neither labels nor roles", {}, []),
        ("one label", {"app": "web"}, []),
        ("an empty value, a prefixed key", {"example.com/tier": "", "zone": "eu-1"}, []),
        ("capitals sort before small letters", {"App": "1", "app": "2"}, ["auditor"]),
        ("a role in a namespace", {}, ["key-admin", "key-user@payments"]),
        ("64 labels, long-form lengths", {f"l{number:02}": "v" for number in range(64)}, []),
    ]
    for comment, labels, roles in cases:
        der = extension(labels.items(), roles)
        file.valid(comment, "Valid", der=der.hex(), labels=dict(labels), roles=roles)


def _refuse(file: VectorFile, flag: str, cases: Mapping[str, bytes]) -> None:
    for comment, der in cases.items():
        file.invalid(comment, flag, "Unauthenticated", der=der.hex())


def _encoding(file: VectorFile) -> None:
    good = extension([("app", "web")], ["auditor"])
    one, empty = tlv(INTEGER, b"\x01"), tlv(SEQUENCE, b"")
    cases = {
        "long-form length below 128": bytes([SEQUENCE, 0x81, len(good) - 2]) + good[2:],
        "long-form length with a leading zero": bytes([SEQUENCE, 0x82, 0, len(good) - 2]) + good[2:],
        "indefinite length": b"\x30\x80" + good[2:] + b"\x00\x00",
        "version with a leading zero byte": tlv(SEQUENCE, tlv(INTEGER, b"\x00\x01") + empty * 2),
        "long-form length of a role": tlv(SEQUENCE, one + empty + tlv(SEQUENCE, b"\x0c\x81\x07auditor")),
    }
    _refuse(file, "Encoding", cases)


def _structure(file: VectorFile) -> None:
    good = extension([("app", "web")], ["auditor"])
    one, empty = tlv(INTEGER, b"\x01"), tlv(SEQUENCE, b"")
    label = text("app") + text("web")
    cases = {
        "nothing": b"",
        "cut off": good[:-1],
        "a trailing byte": good + b"\x00",
        "a fourth field": tlv(SEQUENCE, one + empty * 3),
        "no roles": tlv(SEQUENCE, one + empty),
        "no version": tlv(SEQUENCE, empty * 2),
        "a SET instead of the outer SEQUENCE": bytes([SET]) + good[1:],
        "labels as SET OF": tlv(SEQUENCE, one + tlv(SET, tlv(SEQUENCE, label)) + empty),
        "a role as PrintableString": tlv(SEQUENCE, one + empty + tlv(SEQUENCE, text("auditor", PRINTABLE))),
        "a label of one text": tlv(SEQUENCE, one + tlv(SEQUENCE, tlv(SEQUENCE, text("app"))) + empty),
        "a label of three texts": tlv(
            SEQUENCE, one + tlv(SEQUENCE, tlv(SEQUENCE, label + text("x"))) + empty
        ),
        "a role that is not UTF-8": tlv(SEQUENCE, one + empty + tlv(SEQUENCE, tlv(UTF8, b"\xff"))),
    }
    _refuse(file, "Structure", cases)


def _content(file: VectorFile) -> None:
    many = [(f"l{number:02}", "v") for number in range(65)]
    large = [(f"{'p' * 60}.{'q' * 60}/{number:02}", "v" * 63) for number in range(64)]
    order = {
        "labels falling": extension([("b", "1"), ("a", "2")]),
        "a label twice": extension([("a", "1"), ("a", "1")]),
        "a key with two values": extension([("a", "1"), ("a", "2")]),
        "roles falling": extension(roles=["key-user", "auditor"]),
        "a role twice": extension(roles=["auditor", "auditor"]),
    }
    syntax = {
        "an empty key": extension([("", "v")]),
        "a key of 64 characters": extension([("k" * 64, "v")]),
        "a value of 64 characters": extension([("k", "v" * 64)]),
        "a key with a space": extension([("a b", "v")]),
        "a prefix with capitals": extension([("Example.com/a", "v")]),
        "a key that ends in a dot": extension([("a.", "v")]),
        "a value with a line feed at its end": extension([("a", "v\n")]),
        "a value that is not ASCII": extension([("a", "\u00e9")]),
        "an empty role": extension(roles=[""]),
        "a role with capitals": extension(roles=["Auditor"]),
        "a role with an empty namespace": extension(roles=["auditor@"]),
        "a role with two namespaces": extension(roles=["auditor@a@b"]),
    }
    limits = {
        "65 labels": extension(many),
        "65 roles": extension(roles=[f"r{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(65)]),
        "above 8192 bytes": extension(large),
    }
    _refuse(file, "Order", order)
    _refuse(file, "Syntax", syntax)
    _refuse(file, "Limit", limits)
    _refuse(file, "Version", {"version 0": extension(version=0), "version 2": extension(version=2)})
