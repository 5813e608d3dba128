"""A sealed secret that differs in one bit, is cut off, or has one byte more, does not open.

The KMS of these tests answers whatever it is asked, under whatever policy the changed header names.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from honest_kms import HonestKms, header_of, small_kms

from blindfold import Binding, PolicyDocument, seal
from blindfold.envelope import MAC_SIZE
from blindfold.errors import BlindfoldError, Corrupt, OpenFailed
from blindfold.stream import CHUNK, TAG
from testvectors import material

SECRET = b"tamper with me"


def sealed_file(kms: HonestKms, policy: PolicyDocument, *, pad: bool) -> bytes:
    return seal(SECRET, kms.key, policy, name="web", content_type="text/plain", pad=pad, test_only=True)


def refusal(kms: HonestKms, sealed: bytes) -> type[BlindfoldError] | None:
    """The error of opening with the key document that the changed header asks for, or else the true one."""
    try:
        lock = header_of(sealed).lock
        obliging = replace(kms, tenant=lock.tenant, version=lock.key_version)
        if obliging.key.fingerprint == lock.fingerprint:
            kms = obliging
        kms.open(sealed)
    except BlindfoldError as error:
        return type(error)
    return None


FILES = [
    pytest.param((HonestKms(), material.policy(), False), id="512 bits, by revision"),
    pytest.param(
        (HonestKms(), material.policy(binding=Binding.POLICY), True), id="512 bits, by name, padded"
    ),
    pytest.param((small_kms(), material.policy(), False), id="1024 bits", marks=pytest.mark.slow),
]


@pytest.fixture(params=FILES)
def kms_and_file(request: pytest.FixtureRequest) -> tuple[HonestKms, bytes]:
    kms, policy, pad = request.param
    return kms, sealed_file(kms, policy, pad=pad)


def flips(sealed: bytes) -> Iterator[tuple[int, bytes]]:
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(changed)


def test_unchanged_file_opens(kms_and_file: tuple[HonestKms, bytes]) -> None:
    kms, sealed = kms_and_file
    assert refusal(kms, sealed) is None
    assert kms.open(sealed) == SECRET


def test_every_bit_flip_is_refused(kms_and_file: tuple[HonestKms, bytes]) -> None:
    kms, sealed = kms_and_file
    refusals = {bit: refusal(kms, changed) for bit, changed in flips(sealed)}
    assert [bit for bit, error in refusals.items() if error is None] == []
    payload = 8 * len(header_of(sealed).to_bytes())
    assert {error for bit, error in refusals.items() if bit >= payload} == {OpenFailed}


def test_every_truncation_is_refused(kms_and_file: tuple[HonestKms, bytes]) -> None:
    kms, sealed = kms_and_file
    refusals = [refusal(kms, sealed[:size]) for size in range(len(sealed))]
    assert None not in refusals
    start = len(header_of(sealed).to_bytes()) + MAC_SIZE
    assert set(refusals[start:]) == {OpenFailed}
    assert all(issubclass(error, Corrupt) for error in refusals[:start] if error)


def test_every_appended_byte_is_refused(kms_and_file: tuple[HonestKms, bytes]) -> None:
    kms, sealed = kms_and_file
    assert {refusal(kms, sealed + bytes([byte])) for byte in range(256)} == {OpenFailed}


def test_appended_zeros_and_second_file_are_refused(kms_and_file: tuple[HonestKms, bytes]) -> None:
    kms, sealed = kms_and_file
    for tail in (bytes(TAG), bytes(CHUNK), sealed):
        assert refusal(kms, sealed + tail) is OpenFailed
        assert refusal(kms, tail + sealed) is not None


def test_payload_of_another_file_is_refused(kms_and_file: tuple[HonestKms, bytes]) -> None:
    kms, sealed = kms_and_file
    header = header_of(sealed)
    other = sealed_file(kms, material.policy(binding=header.lock.binding), pad=header.metadata.padded)
    start = len(header.to_bytes()) + MAC_SIZE
    assert len(sealed) == len(other)
    assert refusal(kms, sealed[:start] + other[start:]) is OpenFailed
    assert refusal(kms, sealed[: start - MAC_SIZE] + other[start - MAC_SIZE :]) is OpenFailed


@pytest.mark.parametrize("pad", [False, True])
def test_chunks_dropped_swapped_or_repeated_are_refused(pad: bool) -> None:
    kms, policy = HonestKms(), material.policy()
    secret = bytes(range(256)) * 1024
    sealed = seal(secret, kms.key, policy, pad=pad, test_only=True)
    assert kms.open(sealed) == secret
    start = len(header_of(sealed).to_bytes()) + MAC_SIZE
    size = CHUNK + TAG
    chunks = [sealed[at : at + size] for at in range(start, len(sealed), size)]
    assert len(chunks) >= 4
    first, second, *rest = chunks
    for changed in (
        [second, first, *rest],
        [first, *rest],
        [first, second, second, *rest],
        chunks[:-1],
        [*chunks, chunks[-1]],
        chunks[-1:],
        [],
    ):
        assert refusal(kms, sealed[:start] + b"".join(changed)) is OpenFailed
