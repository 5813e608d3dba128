"""The sealed file's bytes, parsed and printed. Knows no keys (docs/spec/blindfold.md, "The sealed file").

    prefix  = magic (8) || u8 format || u16be suite || u32be header_len
    header  = u8 lock_count || lock || metadata fields
    lock    = u8 type || u16be len || body
    sealed  = prefix || header || mac (32) || payload

Printing what was parsed gives the same bytes; anything else is refused.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from blindfold._encoding import Reader, lp, u8, u16, u32, u64
from blindfold.documents import check_id
from blindfold.errors import Corrupt, DocumentInvalid, InputInvalid, NotSealed, Unsupported
from blindfold.exponent import DIGEST_SIZE, UID_SIZE, Binding

# A high first byte and the line ends show a channel that strips bits or translates text.
MAGIC = b"\x93BFOLD\r\n"
FORMAT = 1
SUITE = 1
PREFIX_SIZE = len(MAGIC) + 1 + 2 + 4
MAX_HEADER = 16 * 1024
MAC_SIZE = 32
MAX_NAME = 255
MAX_CONTENT_TYPE = 127
MIN_ELEMENT, MAX_ELEMENT = 64, 512

# Control characters, line and direction marks would let a name forge what a terminal shows; a surrogate
# has no UTF-8 form.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTENT_TYPE = re.compile(r"[\x21-\x7e]+/[\x20-\x7e]+", re.ASCII)


class Source(Protocol):
    """Where bytes are read from: a binary file, a pipe, `io.BytesIO`."""

    def read(self, size: int, /) -> bytes | None: ...


def read_exactly(source: Source, size: int) -> bytes:
    """Up to size bytes, fewer only where the source ends; pipes give them piecemeal.

    Raises `InputInvalid` for a source that does not block: its "nothing yet" is not the end.
    """
    data = read_some(source, size)
    if len(data) in (0, size):
        return data
    pieces = [data]
    missing = size - len(data)
    while missing and (data := read_some(source, missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)


def read_some(source: Source, size: int) -> bytes:
    """At least one byte, or none at the end. Raises as `read_exactly`."""
    data = source.read(size)
    if data is None:
        raise InputInvalid("the input has no data yet and does not block; give one that waits")
    return data


@dataclass(frozen=True, slots=True)
class PolicyLock:
    """Lock type 1: the element C that only the tenant key, under the policy's exponent, takes the root of."""

    TYPE: ClassVar[int] = 1

    tenant: str
    key_version: int
    binding: Binding
    binding_value: bytes
    fingerprint: bytes
    element: bytes

    def body(self, *, with_element: bool = True) -> bytes:
        return (
            lp(self.tenant.encode("ascii"))
            + u32(self.key_version)
            + u8(self.binding)
            + lp(self.binding_value)
            + lp(self.fingerprint)
            + (lp(self.element) if with_element else b"")
        )

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises `Corrupt` or, for another binding, `Unsupported`."""
        reader = Reader(body)
        tenant = _id(reader.lp("tenant"), "tenant")
        key_version = reader.integer(4, "key version")
        if key_version == 0:
            raise Corrupt("key version: 0")
        number = reader.integer(1, "binding")
        if number not in tuple(Binding):
            raise Unsupported(f"binding {number} is not known")
        binding = Binding(number)
        binding_value = reader.lp("binding value")
        _check_binding_value(binding, binding_value, tenant)
        fingerprint = reader.lp("fingerprint")
        if len(fingerprint) != DIGEST_SIZE:
            raise Corrupt(f"fingerprint: {len(fingerprint)} bytes, {DIGEST_SIZE} expected")
        element = reader.lp("element")
        if not MIN_ELEMENT <= len(element) <= MAX_ELEMENT:
            raise Corrupt(f"element: {len(element)} bytes")
        reader.finish("lock")
        return cls(tenant, key_version, binding, binding_value, fingerprint, element)

    @property
    def policy(self) -> tuple[str, bytes] | None:
        """Resource name and uid of a POLICY binding, None for a REVISION binding."""
        if self.binding is Binding.REVISION:
            return None
        return _split_policy(self.binding_value)


@dataclass(frozen=True, slots=True)
class Metadata:
    """Public, authenticated description of a sealed secret. Empty fields are not written.

    `name`: up to 255 bytes of UTF-8 without control characters. `content_type`: a media type.
    `created`: seconds since 1970. `padded`: the payload is padded.
    """

    name: str = ""
    content_type: str = ""
    created: int | None = None
    padded: bool = False

    def __post_init__(self) -> None:
        if _FORBIDDEN.search(self.name) or len(self.name.encode()) > MAX_NAME:
            raise InputInvalid(f"name: at most {MAX_NAME} bytes, no control characters")
        content_type = self.content_type
        if content_type and (
            len(content_type) > MAX_CONTENT_TYPE or not _CONTENT_TYPE.fullmatch(content_type)
        ):
            raise InputInvalid(f"content type: a media type of at most {MAX_CONTENT_TYPE} characters")
        if self.created is not None and not 0 <= self.created < 1 << 63:
            raise InputInvalid("created: not a time")

    def to_bytes(self) -> bytes:
        fields = (
            (1, self.name.encode()),
            (2, self.content_type.encode()),
            (3, b"" if self.created is None else u64(self.created)),
            (4, b"\x01" if self.padded else b""),
        )
        return b"".join(u8(tag) + lp(value) for tag, value in fields if value)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Take all fields to the reader's end. Raises `Corrupt`, or `Unsupported` for an unknown tag."""
        values: dict[int, bytes] = {}
        last = 0
        while not reader.at_end():
            tag = reader.integer(1, "metadata tag")
            if tag <= last:
                raise Corrupt(f"metadata: tag {tag} after tag {last}")
            if tag > 4:
                raise Unsupported(f"metadata tag {tag} is not known")
            values[tag] = reader.lp("metadata")
            last = tag
        try:
            return cls(
                name=values.get(1, b"").decode("utf-8"),
                content_type=values.get(2, b"").decode("ascii"),
                created=int.from_bytes(values[3], "big") if 3 in values else None,
                padded=4 in values,
            )
        except (UnicodeDecodeError, InputInvalid):
            pass
        raise Corrupt("metadata: a value outside its limits")


@dataclass(frozen=True, slots=True)
class Header:
    """Everything public of a sealed secret before its mac."""

    lock: PolicyLock
    metadata: Metadata

    def to_bytes(self, *, with_element: bool = True) -> bytes:
        """Prefix and header. Without the element: what x is derived over, before C exists."""
        body = self.lock.body(with_element=with_element)
        header = u8(1) + u8(PolicyLock.TYPE) + lp(body) + self.metadata.to_bytes()
        return MAGIC + u8(FORMAT) + u16(SUITE) + u32(len(header)) + header

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Prefix and header, nothing after. Raises `NotSealed`, `Corrupt` or `Unsupported`."""
        size = header_size(data[:PREFIX_SIZE])
        reader = Reader(data[PREFIX_SIZE:])
        locks = reader.integer(1, "lock count")
        if locks == 0:
            raise Corrupt("no lock")
        if locks > 1:
            raise Unsupported(f"{locks} locks; this version opens exactly one")
        lock_type = reader.integer(1, "lock type")
        body = reader.lp("lock")
        if lock_type != PolicyLock.TYPE:
            raise Unsupported(f"lock type {lock_type} is not known")
        header = cls(PolicyLock.parse(body), Metadata.parse(reader))
        if size != len(data) - PREFIX_SIZE or header.to_bytes() != data:
            raise Corrupt("the header is not in canonical form")
        return header


def header_size(prefix: bytes) -> int:
    """The header's length that a prefix announces. Raises as `Header.parse`."""
    if not prefix.startswith(MAGIC):
        raise NotSealed("not a sealed secret: it does not begin with the magic bytes")
    reader = Reader(prefix[len(MAGIC) :])
    version = reader.integer(1, "format")
    if version != FORMAT:
        raise Unsupported(f"format {version} is not known")
    suite = reader.integer(2, "suite")
    if suite != SUITE:
        raise Unsupported(f"suite {suite} is not known")
    size = reader.integer(4, "header length")
    if size > MAX_HEADER:
        raise Corrupt(f"header length {size}, at most {MAX_HEADER} are allowed")
    return size


def read_header(source: Source) -> tuple[Header, bytes, bytes]:
    """Read up to the payload: header, every byte before the mac, mac. Raises as `Header.parse`."""
    prefix = read_exactly(source, PREFIX_SIZE)
    size = header_size(prefix)
    rest = read_exactly(source, size)
    if len(rest) != size:
        raise Corrupt(f"cut off inside the header, after {len(prefix) + len(rest)} bytes")
    header = Header.parse(prefix + rest)
    mac = read_exactly(source, MAC_SIZE)
    if len(mac) != MAC_SIZE:
        raise Corrupt("cut off inside the mac")
    return header, prefix + rest, mac


def _id(value: bytes, what: str) -> str:
    try:
        return check_id(value.decode("ascii"), what)
    except (UnicodeDecodeError, DocumentInvalid):
        pass
    raise Corrupt(f"{what}: not an id")


_POLICY_NAME = re.compile(r"tenants/([^/]+)/namespaces/([^/]+)/secretPolicies/([^/]+)", re.ASCII)


def _split_policy(binding_value: bytes) -> tuple[str, bytes]:
    reader = Reader(binding_value)
    name = reader.lp("policy name")
    uid = reader.take(UID_SIZE, "policy uid")
    reader.finish("binding value")
    match = _POLICY_NAME.fullmatch(name.decode("ascii", "replace"))
    if match is None:
        raise Corrupt("policy name: not the name of a secret policy")
    for part in match.groups():
        _id(part.encode(), "policy name")
    return match[0], uid


def _check_binding_value(binding: Binding, value: bytes, tenant: str) -> None:
    if binding is Binding.REVISION:
        if len(value) != DIGEST_SIZE:
            raise Corrupt(f"binding value: {len(value)} bytes, {DIGEST_SIZE} expected")
        return
    name, _ = _split_policy(value)
    if not name.startswith(f"tenants/{tenant}/"):
        raise Corrupt("the policy is not of the lock's tenant")
