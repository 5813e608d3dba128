"""Envelopes written and read as files."""

import contextlib
import io
import tracemalloc

import pytest
from client.local_kms import SIZES, Trickle, pattern

from blindfold.stream import CHUNK
from kms.errors import DecryptionFailed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1000, CHUNK, 10 * CHUNK])
def test_what_is_written_is_read(cipher, size, step):
    plaintext, sink = pattern(size), io.BytesIO()
    with cipher.encrypting(sink, b"aad") as writer:
        for start in range(0, size, step):
            assert writer.write(plaintext[start : start + step]) == len(plaintext[start : start + step])
    with cipher.decrypting(io.BytesIO(sink.getvalue()), b"aad") as reader:
        pieces = iter(lambda: reader.read(step), b"")
        assert b"".join(pieces) == plaintext
    assert cipher.decrypt(sink.getvalue(), b"aad").reveal() == plaintext


def test_files_that_give_and_take_a_part_are_served_whole(cipher):
    sink = Trickle()
    with cipher.encrypting(sink) as writer:
        writer.write(pattern(200_000))
    with cipher.decrypting(Trickle(sink.getvalue())) as reader:
        assert io.BufferedReader(reader).read() == pattern(200_000)


def test_reader_gives_verified_bytes_and_fails_for_good(cipher):
    envelope = bytearray(cipher.encrypt(pattern(2 * CHUNK)))
    envelope[-1] ^= 1
    with cipher.decrypting(io.BytesIO(envelope)) as reader:
        assert reader.read(10) == pattern(10)
        assert reader.read(CHUNK) == pattern(CHUNK)[10:]
        for _ in range(2):
            with pytest.raises(DecryptionFailed):
                reader.read(1)
        with pytest.raises(DecryptionFailed):
            reader.read()


def test_reader_fails_for_good_where_its_source_did(cipher):
    class Broken(io.BytesIO):
        def read(self, size=-1, /):
            if self.tell() > CHUNK:
                raise OSError("the disk")
            return super().read(size)

    with cipher.decrypting(Broken(cipher.encrypt(pattern(3 * CHUNK)))) as reader:
        with pytest.raises(OSError, match="the disk"):
            reader.read()
        with pytest.raises(DecryptionFailed):
            reader.read()


def test_closed_files_say_so(cipher):
    sink = io.BytesIO()
    writer = cipher.encrypting(sink)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")
    reader = cipher.decrypting(io.BytesIO(sink.getvalue()))
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)
    assert writer.writable()
    assert reader.readable()


def test_writer_left_by_an_error_makes_no_envelope(cipher):
    sink = io.BytesIO()
    with contextlib.suppress(RuntimeError), cipher.encrypting(sink) as writer:
        writer.write(pattern(2 * CHUNK))
        raise RuntimeError
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(sink.getvalue())


def test_writer_that_is_forgotten_makes_no_envelope(cipher):
    sink = io.BytesIO()
    cipher.encrypting(sink).write(pattern(2 * CHUNK))
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(sink.getvalue())


def test_writer_whose_sink_failed_makes_no_envelope(cipher):
    class Full(io.BytesIO):
        full = False

        def write(self, data, /):
            if self.full:
                raise OSError("no space")
            return super().write(data)

    sink = Full()
    writer = cipher.encrypting(sink)
    sink.full = True
    with pytest.raises(OSError, match="no space"):
        writer.write(pattern(2 * CHUNK))
    sink.full = False
    with pytest.raises(ValueError, match="unfinished"):
        writer.write(b"more")
    with pytest.raises(ValueError, match="unfinished"):
        writer.close()
    assert writer.closed
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(sink.getvalue())


@pytest.mark.slow
def test_streams_of_256_mib_take_constant_memory(cipher, tmp_path):
    size, piece = 256 * 2**20, bytes(2**20)
    path = tmp_path / "envelope"
    tracemalloc.start()
    try:
        with path.open("wb") as sink, cipher.encrypting(sink) as writer:
            for _ in range(size // len(piece)):
                writer.write(piece)
        read = 0
        with path.open("rb") as source, cipher.decrypting(source) as reader:
            while chunk := reader.read(2**20):
                read += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == size
    assert peak < 4 * 2**20
