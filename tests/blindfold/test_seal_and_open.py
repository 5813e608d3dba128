"""What is sealed comes out again, whole or not at all, from any source and at any size."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from honest_kms import HonestKms, header_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blindfold import Binding, begin_open, finish_open, open_unfinished_stream, seal, seal_stream, stream
from blindfold.envelope import MAC_SIZE, read_exactly
from blindfold.errors import BlindfoldError, DocumentMismatch, InputInvalid, NameMismatch, OpenFailed
from blindfold.stream import CHUNK, TAG, PaddingSource, padded_size, unpad
from testvectors import material

ROOT = Path(__file__).parents[2]
KMS = HonestKms()
POLICY = material.policy()
EDGES = [0, 1, 247, 248, 249, CHUNK - 9, CHUNK - 8, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 8]
EDGES += [2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK, 200_003]

random_input = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])


class Drip:
    """A source that gives fewer bytes than asked for, as pipes do."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._inner = io.BytesIO(data)
        self._sizes = sizes
        self._count = 0

    def read(self, size: int, /) -> bytes:
        self._count += 1
        return self._inner.read(min(size, self._sizes[self._count % len(self._sizes)]))


def secret_of(size: int) -> bytes:
    return hashlib.shake_256(b"secret").digest(size)


def payload_size(sealed: bytes) -> int:
    return len(sealed) - len(header_of(sealed).to_bytes()) - MAC_SIZE


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("size", EDGES)
def test_secret_comes_out_as_it_went_in(size: int, pad: bool) -> None:
    secret = secret_of(size)
    sealed = seal(secret, KMS.key, POLICY, pad=pad, test_only=True)
    length = padded_size(size) if pad else size
    assert payload_size(sealed) == length + TAG * max(1, -(-length // CHUNK))
    assert KMS.open(sealed) == secret


@random_input
@given(
    size=st.sampled_from(EDGES) | st.integers(0, 3 * CHUNK),
    sizes=st.lists(st.integers(1, CHUNK), min_size=1, max_size=5),
    pad=st.booleans(),
)
def test_sources_that_give_short_reads_change_nothing(size: int, sizes: list[int], pad: bool) -> None:
    secret, sink = secret_of(size), io.BytesIO()
    if min(sizes) < 64:
        sizes = [*sizes, CHUNK]
    pad_to = size if pad else None
    seal_stream(Drip(secret, sizes), sink, KMS.key, POLICY, pad_to=pad_to, test_only=True)
    assert KMS.open(sink.getvalue()) == secret
    request, state = begin_open(Drip(sink.getvalue(), sizes), KMS.key, test_only=True)
    assert finish_open(state, KMS.answer(request)).reveal() == secret


@random_input
@given(data=st.binary(max_size=600), name=st.sampled_from(["", "a", "é/ü"]), pad=st.booleans())
@example(b"", "", True)
def test_any_secret_under_either_binding(data: bytes, name: str, pad: bool) -> None:
    for binding in Binding:
        policy = material.policy(binding=binding)
        sealed = seal(data, KMS.key, policy, name=name, pad=pad, test_only=True)
        assert KMS.open(sealed) == data
        assert header_of(sealed).metadata.name == name


def test_file_and_pipe_are_sealed_and_opened(tmp_path: Path) -> None:
    secret, path = secret_of(100_000), tmp_path / "secret.sealed"
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as source, path.open("wb") as sink:
        with os.fdopen(write_end, "wb") as writer:
            writer.write(secret[:50_000])
        seal_stream(source, sink, KMS.key, POLICY, test_only=True)
    with path.open("rb") as source:
        request, state = begin_open(source, KMS.key, test_only=True)
        assert finish_open(state, KMS.answer(request)).reveal() == secret[:50_000]


def test_source_without_data_yet_is_refused_and_not_taken_for_its_end() -> None:
    """A pipe that does not block gives None where it has nothing yet; sealing would cut the secret off."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with os.fdopen(read_end, "rb", buffering=0) as source, os.fdopen(write_end, "wb", buffering=0) as writer:
        writer.write(b"the first half")
        for pad_to in (None, 28):
            with pytest.raises(InputInvalid, match="block"):
                seal_stream(source, io.BytesIO(), KMS.key, POLICY, pad_to=pad_to, test_only=True)


def test_bytes_are_read_up_to_the_size_or_the_end() -> None:
    assert read_exactly(Drip(b"abcdef", [1, 2]), 4) == b"abcd"
    assert read_exactly(Drip(b"abcdef", [5]), 9) == b"abcdef"
    assert read_exactly(io.BytesIO(b""), 9) == b""
    assert read_exactly(io.BytesIO(b"abc"), 0) == b""


# What the header says.


def test_header_holds_what_was_given_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_768_478_400.9)
    sealed = seal(b"s", KMS.key, POLICY, name="web", content_type="text/plain", pad=True, test_only=True)
    header = header_of(sealed)
    assert header.metadata == type(header.metadata)("web", "text/plain", 1_768_478_400, padded=True)
    assert (header.lock.tenant, header.lock.key_version) == ("acme", 1)
    assert header.lock.fingerprint == KMS.key.fingerprint
    assert header.lock.binding_value == POLICY.digest


@pytest.mark.parametrize(
    "options", [{"name": "a\nb"}, {"name": "n" * 256}, {"content_type": "text"}], ids=str
)
def test_metadata_outside_its_limits_is_not_sealed(options: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid):
        seal(b"s", KMS.key, POLICY, test_only=True, **options)


@pytest.mark.parametrize(("name", "expected"), [("web", "web"), ("", ""), ("web", None)])
def test_expected_name_opens(name: str, expected: str | None) -> None:
    request, state = begin_open(
        seal(b"s", KMS.key, POLICY, name=name, test_only=True), KMS.key, test_only=True
    )
    assert finish_open(state, KMS.answer(request), expect_name=expected).reveal() == b"s"


@pytest.mark.parametrize(("name", "expected"), [("web", "db"), ("web", ""), ("", "web"), ("web", "Web")])
def test_another_name_does_not_open(name: str, expected: str) -> None:
    request, state = begin_open(
        seal(b"s", KMS.key, POLICY, name=name, test_only=True), KMS.key, test_only=True
    )
    with pytest.raises(NameMismatch):
        finish_open(state, KMS.answer(request), expect_name=expected)


def test_name_changed_in_the_header_is_refused_even_if_it_is_the_expected_one() -> None:
    sealed = seal(b"s", KMS.key, POLICY, name="old", test_only=True).replace(b"old", b"new")
    request, state = begin_open(sealed, KMS.key, test_only=True)
    with pytest.raises(OpenFailed):
        finish_open(state, KMS.answer(request), expect_name="new")


def test_key_document_of_another_version_or_tenant_is_refused_before_anything_is_asked() -> None:
    sealed = seal(b"s", KMS.key, POLICY, test_only=True)
    for other in (HonestKms(version=2), HonestKms(tenant="acme2")):
        with pytest.raises(DocumentMismatch, match="sealed to key version 1 of tenant 'acme'"):
            begin_open(sealed, other.key, test_only=True)


# The stream.


def test_stream_gives_verified_pieces_and_fails_at_the_first_bad_one() -> None:
    secret = secret_of(3 * CHUNK)
    sealed = bytearray(seal(secret, KMS.key, POLICY, test_only=True))
    sealed[-1] ^= 1
    request, state = begin_open(bytes(sealed), KMS.key, test_only=True)
    opened = open_unfinished_stream(state, KMS.answer(request))
    assert next(opened) + next(opened) == secret[: 2 * CHUNK]
    with pytest.raises(OpenFailed):
        next(opened)


def test_stream_checks_the_answer_before_it_returns() -> None:
    request, state = begin_open(seal(b"s", KMS.key, POLICY, test_only=True), KMS.key, test_only=True)
    with pytest.raises(BlindfoldError):
        open_unfinished_stream(state, request.element)


def test_finished_form_gives_nothing_of_a_file_that_is_cut_off() -> None:
    sealed = seal(secret_of(2 * CHUNK), KMS.key, POLICY, test_only=True)
    request, state = begin_open(sealed[: -CHUNK - TAG], KMS.key, test_only=True)
    with pytest.raises(OpenFailed):
        finish_open(state, KMS.answer(request))


def test_more_chunks_than_the_limit_are_neither_sealed_nor_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    key, plain = bytes(32), [bytes(CHUNK)] * 4
    sealed = b"".join(stream.encrypt(key, [*plain, b"x"]))
    monkeypatch.setattr("blindfold.stream.MAX_CHUNKS", 4)
    assert b"".join(stream.decrypt(key, io.BytesIO(b"".join(stream.encrypt(key, plain))))) == b"".join(plain)
    with pytest.raises(InputInvalid, match="4 TiB"):
        list(stream.encrypt(key, [*plain, b"x"]))
    with pytest.raises(OpenFailed):
        list(stream.decrypt(key, io.BytesIO(sealed)))


@pytest.mark.parametrize(
    ("parts", "good"),
    [
        ([(b"", True)], True),
        ([(b"x", True)], True),
        ([(bytes(CHUNK), True)], True),
        ([(bytes(CHUNK), False), (b"x", True)], True),
        ([(b"x", False)], False),
        ([(bytes(CHUNK), False)], False),
        ([(bytes(CHUNK), False), (b"", True)], False),
        ([(bytes(CHUNK - 1), False), (b"x", True)], False),
        ([(b"", False), (b"x", True)], False),
        ([(bytes(CHUNK), True), (b"x", True)], False),
        ([(bytes(CHUNK + 1), True)], False),
        ([], False),
    ],
)
def test_payload_is_full_chunks_and_a_last_one(parts: list[tuple[bytes, bool]], good: bool) -> None:
    aead = stream._primitives.AESGCM(bytes(32))
    nonces = [stream.nonce(counter, last=last) for counter, (_, last) in enumerate(parts)]
    payload = b"".join(
        aead.encrypt(nonce, data, None) for nonce, (data, _) in zip(nonces, parts, strict=True)
    )
    opened = stream.decrypt(bytes(32), io.BytesIO(payload))
    if good:
        assert b"".join(opened) == b"".join(data for data, _ in parts)
    else:
        with pytest.raises(OpenFailed):
            list(opened)


def test_nonces_of_a_payload_never_repeat() -> None:
    nonces = {
        stream.nonce(counter, last=last) for counter in (0, 1, 255, 256, 1 << 26) for last in (True, False)
    }
    assert len(nonces) == 10
    assert {len(nonce) for nonce in nonces} == {12}


# Padding.


@settings(deadline=None)
@given(st.integers(0, 1 << 42))
@example(0)
@example(248)
@example(249)
def test_padded_size_covers_the_secret_and_adds_little(length: int) -> None:
    size = padded_size(length)
    assert size >= 8 + length
    assert size >= 256
    assert size == 256 or size <= 1.12 * (8 + length)
    assert padded_size(size - 8) == size, "a padded size is its own"
    assert size <= padded_size(length + 1)


def test_padded_size_shows_little_of_the_length() -> None:
    """Padme leaves about log log bits: of sizes with the same top bit, only so many occur."""
    for top in (10, 16, 20):
        step = max(1, (1 << top) // 4096)
        sizes = {padded_size(length - 8) for length in range(1 << top, 2 << top, step)}
        assert len(sizes) <= (1 << top.bit_length()) + 1


@pytest.mark.parametrize(("length", "size"), [(0, 256), (248, 256), (249, 272), (1000, 1024), (9992, 10240)])
def test_padded_sizes_by_hand(length: int, size: int) -> None:
    assert padded_size(length) == size


@pytest.mark.parametrize("size", [0, 1, 300, CHUNK - 8, CHUNK, 2 * CHUNK])
@pytest.mark.parametrize("difference", [-1, 1])
def test_source_of_another_length_than_announced_is_refused(size: int, difference: int) -> None:
    announced = size + 1 if difference < 0 else size
    actual = announced + difference
    with pytest.raises(InputInvalid, match="shorter" if difference < 0 else "longer"):
        seal_stream(
            io.BytesIO(bytes(actual)), io.BytesIO(), KMS.key, POLICY, pad_to=announced, test_only=True
        )


@pytest.mark.parametrize("pad_to", [-1, 1 << 64])
def test_announced_length_that_is_none_is_refused(pad_to: int) -> None:
    with pytest.raises(InputInvalid):
        seal_stream(io.BytesIO(b""), io.BytesIO(), KMS.key, POLICY, pad_to=pad_to, test_only=True)


@pytest.mark.parametrize("read_size", [1, 3, 8, 9, 300])
def test_padding_source_gives_the_same_bytes_in_reads_of_any_size(read_size: int) -> None:
    source = PaddingSource(io.BytesIO(b"secret"), 6)
    given = b"".join(iter(lambda: source.read(read_size), b""))
    assert given == (6).to_bytes(8, "big") + b"secret" + bytes(242)


PLAIN = (6).to_bytes(8, "big") + b"secret" + bytes(242)


def parts_of(plain: bytes) -> Iterator[bytes]:
    return iter([plain[start : start + 100] for start in range(0, len(plain), 100)] or [b""])


def test_padding_is_taken_off() -> None:
    assert b"".join(unpad(parts_of(PLAIN))) == b"secret"


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        PLAIN[:7],
        PLAIN[:8],
        PLAIN[:-1],
        PLAIN + b"\x00",
        PLAIN + bytes(256),
        PLAIN[:-1] + b"\x01",
        PLAIN[:14] + b"\x01" + PLAIN[15:],
        PLAIN[:50] + b"\x80" + PLAIN[51:],
        bytes(8) + PLAIN[8:],
        (249).to_bytes(8, "big") + PLAIN[8:],
        b"\xff" * 8 + PLAIN[8:],
        bytes(272),
    ],
)
def test_padding_of_another_form_is_refused(plain: bytes) -> None:
    with pytest.raises(OpenFailed):
        list(unpad(parts_of(plain)))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["seal", "open"])
def test_large_secret_takes_no_more_memory_than_a_small_one(verb: str, tmp_path: Path) -> None:
    mib, key = 64, material.key("full")
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    plain.write_bytes(bytes(mib << 20))
    with plain.open("rb") as source, sealed.open("wb") as sink:
        seal_stream(source, sink, key, POLICY)
    command = [sys.executable, "-m", "benchmarks.sealing", "--grow", verb]
    command.append(str(plain if verb == "seal" else sealed))
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert float(result.stdout) < mib / 2, "MiB by which the process grew"
