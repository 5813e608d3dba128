"""How long, and for how much, a data key is kept."""

import io

import pytest
from client.local_kms import KEY, TEXT

from blindfold.stream import CHUNK
from kms.client.data_keys import CacheLimits
from kms.client.envelope_cipher import EnvelopeCipher
from kms.client.operations import Decrypt, GenerateDataKey


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def generated(local):
    return local.asked.count(GenerateDataKey)


@pytest.mark.parametrize(
    ("limits", "sizes", "ages", "keys"),
    [
        (CacheLimits(), [10] * 5, [0] * 5, 1),
        (CacheLimits(max_age=10), [1] * 4, [9, 1, 9, 1], 2),
        (CacheLimits(max_age=0), [1] * 3, [0] * 3, 3),
        (CacheLimits(max_messages=2), [1] * 5, [0] * 5, 3),
        (CacheLimits(max_messages=1), [1] * 3, [0] * 3, 3),
        (CacheLimits(max_bytes=100), [50, 50, 1, 99, 1], [0] * 5, 3),
        (CacheLimits(max_bytes=100), [60, 60, 60], [0] * 3, 3),
        (CacheLimits(max_bytes=100), [500, 500], [0] * 2, 2),
    ],
)
def test_data_key_serves_within_its_limits(local, limits, sizes, ages, keys):
    clock = Clock()
    cipher = EnvelopeCipher(local, KEY, limits=limits, clock=clock)
    for size, age in zip(sizes, ages, strict=True):
        cipher.encrypt(bytes(size))
        clock.now += age
    assert generated(local) == keys


def test_streamed_bytes_count_against_the_next_envelope(local):
    cipher = EnvelopeCipher(local, KEY, limits=CacheLimits(max_bytes=CHUNK))
    with cipher.encrypting(io.BytesIO()) as writer:
        writer.write(bytes(3 * CHUNK))
    assert generated(local) == 1
    cipher.encrypt(b"")
    assert generated(local) == 2


def test_data_keys_for_decryption_are_kept_by_number_and_age(local):
    clock = Clock()
    limits = CacheLimits(max_age=10, max_messages=1, max_entries=2)
    cipher = EnvelopeCipher(local, KEY, limits=limits, clock=clock)
    first, second, third = (cipher.encrypt(TEXT) for _ in range(3))
    asked = [first, second, first, third, first, second]
    for envelope in asked:
        cipher.decrypt(envelope)
    assert local.asked.count(Decrypt) == 4
    clock.now = 10
    cipher.decrypt(second)
    assert local.asked.count(Decrypt) == 5


def test_nothing_is_kept_where_nothing_is_to_be(local):
    cipher = EnvelopeCipher(local, KEY, limits=CacheLimits(max_entries=0))
    envelope = cipher.encrypt(TEXT)
    for _ in range(2):
        cipher.decrypt(envelope)
    assert local.asked.count(Decrypt) == 2
    with pytest.raises(ValueError, match="max_messages"):
        CacheLimits(max_messages=0)
