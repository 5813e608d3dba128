"""Every format has one spelling of each value: what is printed parses, and what parses prints the same."""

from typing import Any

import pytest
from blindfold_strategies import (
    bundles,
    headers,
    key_documents,
    locks,
    metadata,
    mutations,
    policy_documents,
    seen,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blindfold import Bundle, KeyDocument, PolicyDocument, root_fingerprint
from blindfold._encoding import Reader, lp, u8, u16, u32, u64
from blindfold.bundle import parse_time
from blindfold.envelope import (
    MAGIC,
    MAX_HEADER,
    PREFIX_SIZE,
    Header,
    Metadata,
    PolicyLock,
    header_size,
)
from blindfold.errors import BlindfoldError, Corrupt, InputInvalid, NotSealed, Unsupported
from blindfold.exponent import Binding, policy_binding_value
from blindfold.forms import from_any, from_location, from_text, to_location, to_text
from blindfold.seen import Seen
from fuzz.targets import TARGETS, Target

random_input = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


@random_input
@given(headers)
def test_header_prints_and_parses(header: Header) -> None:
    data = header.to_bytes()
    assert Header.parse(data) == header
    assert header_size(data[:PREFIX_SIZE]) == len(data) - PREFIX_SIZE <= MAX_HEADER
    shortened = header.to_bytes(with_element=False)
    assert len(data) - len(shortened) == len(lp(header.lock.element))


@random_input
@given(metadata)
def test_metadata_prints_and_parses(value: Metadata) -> None:
    assert Metadata.parse(Reader(value.to_bytes())) == value


@random_input
@given(locks())
def test_lock_prints_and_parses(lock: PolicyLock) -> None:
    assert PolicyLock.parse(lock.body()) == lock
    assert (lock.policy is None) == (lock.binding is Binding.REVISION)
    if lock.policy is not None:
        assert policy_binding_value(*lock.policy) == lock.binding_value


@random_input
@given(key_documents)
def test_key_document_prints_and_parses(document: KeyDocument) -> None:
    assert KeyDocument.parse(document.to_bytes()) == document


@random_input
@given(policy_documents)
def test_policy_document_prints_and_parses(document: PolicyDocument) -> None:
    parsed = PolicyDocument.parse(document.to_bytes())
    assert parsed == document
    assert (parsed.digest, parsed.binding_value) == (document.digest, document.binding_value)


@random_input
@given(bundles())
def test_bundle_prints_parses_and_verifies(bundle: Bundle) -> None:
    parsed = Bundle.parse(bundle.to_bytes())
    assert parsed == bundle
    document_class: Any = KeyDocument if bundle.delegation.type == KeyDocument.TYPE else PolicyDocument
    trust = [root_fingerprint(bundle.delegation.root)]
    document = parsed.verify(document_class, trust=trust, now=parse_time(bundle.issued_at, "issued_at"))
    assert document.to_bytes() == bundle.document


@random_input
@given(seen)
def test_memory_prints_and_parses(value: Seen) -> None:
    assert Seen.parse(value.to_bytes()) == value


@random_input
@given(st.binary(max_size=200))
@example(b"")
def test_text_and_location_print_and_parse(data: bytes) -> None:
    assert from_text(to_text(data)) == data
    assert from_location(to_location(data)) == data
    assert from_any(to_text(data).encode()) == from_any(to_location(data).encode()) == data


# Bytes that nobody printed.


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@random_input
@given(data=st.data())
def test_any_bytes_print_as_they_were_or_are_refused_by_a_typed_error(
    target: Target, data: st.DataObject
) -> None:
    target.check(data.draw(st.binary(max_size=300)))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@random_input
@given(data=st.data())
def test_damaged_bytes_print_as_they_were_or_are_refused_by_a_typed_error(
    target: Target, data: st.DataObject
) -> None:
    target.check(data.draw(mutations(target.seeds())))


# Headers that a careless reader would accept.


def header_bytes(body: bytes, *, size: int | None = None, version: int = 1, suite: int = 1) -> bytes:
    return MAGIC + u8(version) + u16(suite) + u32(len(body) if size is None else size) + body


def lock_bytes(body: bytes | None = None, *, type_: int = 1) -> bytes:
    return u8(1) + u8(type_) + lp(lock_body() if body is None else body)


def lock_body(**changes: Any) -> bytes:
    fields = {
        "tenant": lp(b"acme"),
        "key_version": u32(1),
        "binding": u8(1),
        "value": lp(bytes(32)),
        "fingerprint": lp(bytes(32)),
        "element": lp(bytes(64)),
    }
    return b"".join((fields | changes).values())


def named(policy: bytes, uid: bytes = bytes(16)) -> bytes:
    return lock_bytes(lock_body(binding=u8(2), value=lp(lp(policy) + uid)))


NAME = b"tenants/acme/namespaces/prod/secretPolicies/web"
GOOD = header_bytes(lock_bytes())

REFUSED: dict[str, tuple[bytes, type[BlindfoldError]]] = {
    "nothing": (b"", NotSealed),
    "half the magic": (MAGIC[:4], NotSealed),
    "magic with a stripped high bit": (b"\x13" + GOOD[1:], NotSealed),
    "magic with other line ends": (GOOD.replace(b"\r\n", b"\n", 1), NotSealed),
    "no format": (MAGIC, Corrupt),
    "half a header length": (GOOD[: PREFIX_SIZE - 1], Corrupt),
    "format 0": (header_bytes(lock_bytes(), version=0), Unsupported),
    "format 2": (header_bytes(lock_bytes(), version=2), Unsupported),
    "suite 0": (header_bytes(lock_bytes(), suite=0), Unsupported),
    "suite 2": (header_bytes(lock_bytes(), suite=2), Unsupported),
    "a header too long": (header_bytes(lock_bytes(), size=MAX_HEADER + 1), Corrupt),
    "a header of 4 GiB": (header_bytes(lock_bytes(), size=(1 << 32) - 1), Corrupt),
    "no header": (header_bytes(b""), Corrupt),
    "no lock": (header_bytes(u8(0)), Corrupt),
    "two locks": (header_bytes(u8(2) + lock_bytes()[1:] * 2), Unsupported),
    "lock type 0": (header_bytes(lock_bytes(type_=0)), Unsupported),
    "lock type 2": (header_bytes(lock_bytes(type_=2)), Unsupported),
    "a lock cut off": (header_bytes(lock_bytes()[:-1]), Corrupt),
    "a lock with a trailing byte": (header_bytes(lock_bytes(lock_body() + b"\x00")), Corrupt),
    "a byte after the header": (GOOD + b"\x00", Corrupt),
    "an empty tenant": (header_bytes(lock_bytes(lock_body(tenant=lp(b"")))), Corrupt),
    "a tenant in capitals": (header_bytes(lock_bytes(lock_body(tenant=lp(b"Acme")))), Corrupt),
    "a tenant that is not ASCII": (header_bytes(lock_bytes(lock_body(tenant=lp("ä".encode())))), Corrupt),
    "key version 0": (header_bytes(lock_bytes(lock_body(key_version=u32(0)))), Corrupt),
    "binding 0": (header_bytes(lock_bytes(lock_body(binding=u8(0)))), Unsupported),
    "binding 3": (header_bytes(lock_bytes(lock_body(binding=u8(3)))), Unsupported),
    "a digest of 31 bytes": (header_bytes(lock_bytes(lock_body(value=lp(bytes(31))))), Corrupt),
    "a fingerprint of 33 bytes": (header_bytes(lock_bytes(lock_body(fingerprint=lp(bytes(33))))), Corrupt),
    "an element of 63 bytes": (header_bytes(lock_bytes(lock_body(element=lp(bytes(63))))), Corrupt),
    "an element of 513 bytes": (header_bytes(lock_bytes(lock_body(element=lp(bytes(513))))), Corrupt),
    "a policy without a name": (header_bytes(named(b"")), Corrupt),
    "a policy of another collection": (header_bytes(named(NAME.replace(b"secret", b"kms"))), Corrupt),
    "a policy of another tenant": (header_bytes(named(NAME.replace(b"acme", b"acme2"))), Corrupt),
    "a policy id that is none": (header_bytes(named(NAME + b"_")), Corrupt),
    "a policy name with one part more": (header_bytes(named(NAME + b"/x")), Corrupt),
    "a policy name that is not ASCII": (header_bytes(named(NAME + b"\xff")), Corrupt),
    "a uid of 15 bytes": (header_bytes(named(NAME, bytes(15))), Corrupt),
    "a uid of 17 bytes": (header_bytes(named(NAME, bytes(17))), Corrupt),
    "metadata tag 0": (header_bytes(lock_bytes() + u8(0) + lp(b"a")), Corrupt),
    "metadata tag 5": (header_bytes(lock_bytes() + u8(5) + lp(b"a")), Unsupported),
    "metadata out of order": (header_bytes(lock_bytes() + u8(2) + lp(b"a/b") + u8(1) + lp(b"a")), Corrupt),
    "metadata twice": (header_bytes(lock_bytes() + (u8(1) + lp(b"a")) * 2), Corrupt),
    "metadata cut off": (header_bytes(lock_bytes() + u8(1) + u16(2) + b"a"), Corrupt),
    "an empty name, written": (header_bytes(lock_bytes() + u8(1) + lp(b"")), Corrupt),
    "a name that is not UTF-8": (header_bytes(lock_bytes() + u8(1) + lp(b"\xff")), Corrupt),
    "a name of 256 bytes": (header_bytes(lock_bytes() + u8(1) + lp(b"n" * 256)), Corrupt),
    "a content type without a slash": (header_bytes(lock_bytes() + u8(2) + lp(b"text")), Corrupt),
    "a content type that is not ASCII": (header_bytes(lock_bytes() + u8(2) + lp(b"a/\xe9")), Corrupt),
    "a time of 7 bytes": (header_bytes(lock_bytes() + u8(3) + lp(bytes(7))), Corrupt),
    "a time of 2^63": (header_bytes(lock_bytes() + u8(3) + lp(u64(1 << 63))), Corrupt),
    "a padding flag of 0": (header_bytes(lock_bytes() + u8(4) + lp(b"\x00")), Corrupt),
    "a padding flag of 2 bytes": (header_bytes(lock_bytes() + u8(4) + lp(b"\x01\x00")), Corrupt),
}


def test_good_header_is_the_control_of_the_refused_ones() -> None:
    assert Header.parse(GOOD).to_bytes() == GOOD
    assert Header.parse(header_bytes(named(NAME))).lock.policy == (NAME.decode(), bytes(16))


@pytest.mark.parametrize(("data", "error"), REFUSED.values(), ids=REFUSED)
def test_header_of_another_form_is_refused(data: bytes, error: type[BlindfoldError]) -> None:
    with pytest.raises(BlindfoldError) as caught:
        Header.parse(data)
    assert type(caught.value) is error
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "a\x00",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "\u200e",
        "\u200f",
        "\u061c",
        "\u2028",
        "\u202e",
        "\u2066",
        "\u2069",
        "\ud800",
        "n" * 256,
        "é" * 128,
    ],
    ids=ascii,
)
def test_name_that_could_forge_what_a_terminal_shows_is_refused(name: str) -> None:
    with pytest.raises(InputInvalid):
        Metadata(name=name)


@pytest.mark.parametrize("content_type", ["text", "/", "a/", "/b", "a b/c", "a/b\n", "a/é", "a/" + "b" * 126])
def test_content_type_that_is_no_media_type_is_refused(content_type: str) -> None:
    with pytest.raises(InputInvalid):
        Metadata(content_type=content_type)


@pytest.mark.parametrize("created", [-1, 1 << 63])
def test_time_outside_63_bits_is_refused(created: int) -> None:
    with pytest.raises(InputInvalid):
        Metadata(created=created)


def test_length_prefix_has_16_bits() -> None:
    assert lp(bytes(65_535))[:2] == b"\xff\xff"
    with pytest.raises(ValueError, match="16-bit"):
        lp(bytes(65_536))


def test_largest_header_fits_its_limit() -> None:
    longest = "a" * 63
    value = policy_binding_value(
        f"tenants/{longest}/namespaces/{longest}/secretPolicies/{longest}", bytes(16)
    )
    lock = PolicyLock(longest, (1 << 32) - 1, Binding.POLICY, value, bytes(32), bytes(512))
    header = Header(lock, Metadata("n" * 255, "a/" + "b" * 125, (1 << 63) - 1, padded=True))
    assert Header.parse(header.to_bytes()) == header
