"""What each parser is held to: it prints what it parsed byte for byte, or raises one of its own errors."""

import io
import json
from contextlib import suppress
from functools import cache, partial
from types import MappingProxyType

from blindfold import Bundle, KeyDocument, PolicyDocument, begin_open, inspect
from blindfold.envelope import read_header
from blindfold.errors import BlindfoldError
from blindfold.forms import from_any, to_location, to_text
from blindfold.private_key import PrivateKey
from blindfold.seen import Seen
from cli.errors import CliError
from cli.structured_text import parse_texts, to_yaml
from fuzz.identity_targets import IDENTITY_TARGETS
from fuzz.store_targets import STORE_TARGETS
from fuzz.target import Target, vectors
from kms.crypto.device.messages import (
    Answer,
    Item,
    Operation,
    Request,
    Status,
    dump_answers,
    parse_answers,
)
from kms.crypto.envelope import Header
from kms.errors import InvalidField
from kms.external.vault.ciphertext import TransitCiphertext
from kms.model import strict_json
from kms.model.access_json import access_to_json, parse_access


def reprint_sealed(data: bytes) -> bytes:
    """The file's header and mac read and printed; nothing else may escape from inspecting and blinding it."""
    json.dumps(inspect(data).to_json())
    source = io.BytesIO(data)
    header, _, mac = read_header(source)
    with suppress(BlindfoldError):
        begin_open(data, vector_key(), test_only=True)
    return header.to_bytes() + mac + source.read()


def reprint_form(data: bytes) -> bytes:
    sealed = from_any(data)
    spellings = [sealed]
    for text in (to_text(sealed), to_location(sealed)):
        spellings += [text.encode() + ending for ending in (b"", b"\n", b"\r\n")]
    return next((spelling for spelling in spellings if spelling == data), sealed)


def reprint_bundle(data: bytes) -> bytes:
    bundle = Bundle.parse(data)
    return bundle.to_bytes() + (b"\n" if data.endswith(b"\n") else b"")


def reprint_private_key(data: bytes) -> bytes:
    return PrivateKey.from_bytes(data, test_only=True).to_bytes().reveal()


def reprint_text(data: bytes) -> bytes:
    """The same bytes, if what was read is printed as YAML that is read alike."""
    for document in parse_texts("fuzz", data):
        again = parse_texts("fuzz", to_yaml({"value": document.value}).encode())
        if [item.value for item in again] != [{"value": document.value}]:
            return b""
    return data


def reprint_envelope(data: bytes) -> bytes:
    source = io.BytesIO(data)
    return Header.read(source).to_bytes() + source.read()


def reprint_access(data: bytes) -> bytes:
    """The same bytes, if what was read is printed as an access that is printed alike."""
    try:
        obj = strict_json.loads(data.decode())
    except (ValueError, RecursionError):
        raise InvalidField("", "is no JSON") from None
    printed = access_to_json(parse_access(obj))
    again = access_to_json(parse_access(json.loads(json.dumps(printed))))
    return data if again == printed else b""


def sealed_seeds() -> list[bytes]:
    return [bytes.fromhex(test["sealed"]) for test in vectors("open.json")]


def form_seeds() -> list[bytes]:
    sealed = bytes.fromhex(vectors("seal.json")[0]["sealed"])
    return [sealed, to_text(sealed).encode() + b"\n", to_location(sealed).encode(), b"blindfold:v1:AAAA"]


def document_seeds(type_: str) -> list[bytes]:
    return [bytes.fromhex(test["document"]) for test in vectors("documents.json") if test["type"] == type_]


def bundle_seeds() -> list[bytes]:
    return [test["bundle"].encode() for test in vectors("bundles.json")]


def private_key_seeds() -> list[bytes]:
    primes = {(int(test["p"], 16), int(test["q"], 16)) for test in vectors("evaluate.json")}
    return [PrivateKey(p, q, test_only=True).to_bytes().reveal() for p, q in sorted(primes)]


def envelope_seeds() -> list[bytes]:
    return [bytes.fromhex(test["envelope"]) for test in vectors("envelope.json", "kms")]


def request_seeds() -> list[bytes]:
    items = [Item(b"data", b"aad", bytes(12)), Item(b"")]
    return [
        Request(Operation.SEAL, "AES_256_GCM", bytes(range(16)), items).to_bytes(),
        Request(Operation.DESTROY, "", bytes(16), items[1:]).to_bytes(),
        b"\x03\x00\x00" + bytes(16) + b"\xff\xff\xff\xff",
    ]


def answer_seeds() -> list[bytes]:
    return [dump_answers([Answer(status, status.name.encode()) for status in Status]), bytes(4)]


def text_seeds() -> list[bytes]:
    return [
        b"rules:\n- name: a\n  action: ALLOW\n  roles: [a, 'no']\n",
        b'{"rules": [{"name": "\\u00e9", "action": "DENY"}], "n": 5}',
        b"a: |\n  text\nb: >-\n  more\n---\nc: {}\n",
        b"a: &x [no]\nb: *x\n",
    ]


def access_seeds() -> list[bytes]:
    name = "tenants/acme/namespaces/prod/secretManagementAccesses/main"
    secrets = (
        {"type": "blindfold", "location": to_location(sealed_seeds()[0])},
        {"type": "clear", "location": "string:///aHVudGVyMg=="},
        {"type": "vault", "access": name, "path": "secret/db", "key": "a", "encoding": "BASE64"},
    )
    rest = {"provider": "a", "where": {"expressions": ["app"]}, "endpoint": "https://vault:8200/v"}
    return [
        json.dumps(rest | {"authentication": {"type": kind, **members}, **more}).encode()
        for secret in secrets
        for kind, members, more in (
            ("token", {"token": secret, "wrapped": True}, {"mounts": [{"path": "a", "engine": "KV_V1"}]}),
            ("header", {"header": "x-key", "value": secret}, {"timeout_seconds": 1}),
        )
    ]


def vault_ciphertext_seeds() -> list[bytes]:
    return [b"vault:v1:AAAA", b"vault:v123456789:AA==", b"vault:v1:AB==", b"vault:v01:AAAA"]


def seen_seeds() -> list[bytes]:
    policy = PolicyDocument.parse(document_seeds(PolicyDocument.TYPE)[0])
    root = f"sha256:{'0' * 64}"
    return [Seen().to_bytes(), Seen().accept(root, vector_key(), policy).to_bytes()]


@cache
def vector_key() -> KeyDocument:
    return KeyDocument.parse(document_seeds(KeyDocument.TYPE)[0])


TARGETS = MappingProxyType(
    {
        "sealed_file": Target(reprint_sealed, sealed_seeds),
        "key_document": Target(
            lambda data: KeyDocument.parse(data).to_bytes(), partial(document_seeds, KeyDocument.TYPE)
        ),
        "policy_document": Target(
            lambda data: PolicyDocument.parse(data).to_bytes(), partial(document_seeds, PolicyDocument.TYPE)
        ),
        "bundle": Target(reprint_bundle, bundle_seeds),
        "form": Target(reprint_form, form_seeds),
        "private_key": Target(reprint_private_key, private_key_seeds),
        "envelope": Target(reprint_envelope, envelope_seeds, InvalidField),
        "device_request": Target(lambda data: Request.parse(data).to_bytes(), request_seeds),
        "device_answers": Target(lambda data: dump_answers(parse_answers(data)), answer_seeds),
        "seen": Target(lambda data: Seen.parse(data).to_bytes(), seen_seeds),
        "structured_text": Target(reprint_text, text_seeds, CliError),
        "vault_ciphertext": Target(
            lambda data: TransitCiphertext.parse(data.decode("latin-1")).text.encode("latin-1"),
            vault_ciphertext_seeds,
            InvalidField,
        ),
        **IDENTITY_TARGETS,
        **STORE_TARGETS,
        "access": Target(reprint_access, access_seeds, InvalidField),
    }
)
