"""Encrypting bulk data under data keys, so that the KMS sees neither its bytes nor each call.

    cipher = EnvelopeCipher(client, "tenants/acme/namespaces/prod/keys/files")
    with cipher.encrypting(file, aad=b"backup 17") as writer:
        shutil.copyfileobj(source, writer)

The format is docs/spec/envelope.md; docs/client.md has examples.
"""

import functools
import io
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, Self, TypeAlias, TypeVar

from blindfold.envelope import Source, read_some
from blindfold.sealing import Sink
from blindfold.secret import SecretBytes
from blindfold.stream import CHUNK
from kms.client.client import AsyncKmsClient, KmsClient
from kms.client.data_keys import CacheLimits, DecryptingKeys, EncryptingKey
from kms.client.envelope_streams import EnvelopeReader, EnvelopeWriter, write_all
from kms.client.errors import CallFailed, CallInvalid
from kms.client.operations import DataKey, Decrypt, GenerateDataKey, ReEncrypt, Request
from kms.crypto.envelope import (
    WRAPPING_AAD,
    Header,
    message_key,
    new_salt,
    read_commitment,
    verify_message_key,
)
from kms.errors import DecryptionFailed, InvalidField
from kms.model.names import KeyName, KeyVersionName

T = TypeVar("T")
Client = TypeVar("Client", KmsClient, AsyncKmsClient)

# Work between calls to the KMS: gives a name and a request, takes the answer, and ends with a T.
Steps: TypeAlias = Generator[tuple[str, Request[Any]], Any, T]


class _Envelopes(Generic[Client]):
    """What both ciphers are made of: everything but the calls."""

    def __init__(
        self,
        client: Client,
        key: str,
        *,
        accept: Iterable[str] = (),
        limits: CacheLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The client stays the caller's to close.

        Envelopes of `key`, and of the keys in `accept`, are decrypted, no others: whoever writes an envelope
        chooses the key that it names. Raises `InvalidField` for what is not a key's name.
        """
        limits = limits or CacheLimits()
        self._client: Client = client
        self._key = str(KeyName.parse(key))
        self._accepted = {self._key, *(str(KeyName.parse(name)) for name in accept)}
        self._encrypting_key = EncryptingKey(limits, clock)
        self._decrypting_keys = DecryptingKeys(limits, clock)
        self._is_closed = False

    def _drop_keys(self) -> None:
        self._is_closed = True
        self._encrypting_key.clear()
        self._decrypting_keys.clear()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("the cipher is closed")

    def _encrypting(self, sink: Sink, aad: bytes, size: int = 0) -> Steps[EnvelopeWriter]:
        self._check_open()
        use = self._encrypting_key.take(size)
        if use is None:
            made = yield self._key, GenerateDataKey(WRAPPING_AAD)
            use = self._encrypting_key.put(made)
        charge = functools.partial(self._encrypting_key.charge, use)
        return _begin_with(use.key, sink, aad, charge=charge, salt=new_salt())

    def _encrypt(self, plaintext: bytes, aad: bytes) -> Steps[bytes]:
        sink = io.BytesIO()
        with (yield from self._encrypting(sink, aad, len(plaintext))) as writer:
            writer.write(plaintext)
        return sink.getvalue()

    def _decrypting(self, source: Source, aad: bytes) -> Steps[EnvelopeReader]:
        header = self._read_header(source)
        commitment = read_commitment(source)
        data_key = self._decrypting_keys.get(_origin(header))
        if data_key is None:
            data_key = yield from self._unwrap(header)
        return EnvelopeReader(verify_message_key(data_key, header, aad, commitment), source)

    def _decrypt(self, envelope: bytes, aad: bytes) -> Steps[SecretBytes]:
        with (yield from self._decrypting(io.BytesIO(envelope), aad)) as reader:
            return SecretBytes(reader.readall())

    def _rewrap(self, source: Source, sink: Sink) -> Steps[None]:
        header = self._read_header(source)
        request = ReEncrypt(header.wrapped, WRAPPING_AAD, self._key, WRAPPING_AAD)
        moved = yield str(header.name.key_name), request
        rewrapped = Header(KeyVersionName.parse(moved.name), moved.ciphertext, header.salt)
        write_all(sink, rewrapped.to_bytes())
        while piece := read_some(source, CHUNK):
            write_all(sink, piece)

    def _read_header(self, source: Source) -> Header:
        self._check_open()
        header = Header.read(source)
        name = str(header.name.key_name)
        if name not in self._accepted:
            raise InvalidField("envelope", f"is of the key {name}, which is not accepted here")
        return header

    def _unwrap(self, header: Header) -> Steps[SecretBytes]:
        """One error for all that keeps an envelope from being decrypted, here or in the KMS."""
        try:
            made = yield str(header.name.key_name), Decrypt(header.wrapped, WRAPPING_AAD)
        except CallInvalid as error:
            if error.reason != DecryptionFailed.reason:
                raise
        else:
            if made.name == str(header.name):
                return self._decrypting_keys.put(_origin(header), made.plaintext)
        raise DecryptionFailed


def _origin(header: Header) -> bytes:
    """Of a data key. The KMS vouches for name and wrapped key together, not for one with another's."""
    return f"{header.name} ".encode() + header.wrapped


def _begin_with(
    key: DataKey, sink: Sink, aad: bytes, *, charge: Callable[[int], None], salt: bytes
) -> EnvelopeWriter:
    """A salt that is not drawn is for vectors only."""
    header = Header(KeyVersionName.parse(key.name), key.ciphertext, salt)
    commitment, message = message_key(key.plaintext, header, aad)
    return EnvelopeWriter(sink, header.to_bytes() + commitment, message, charge)


class EnvelopeCipher(_Envelopes[KmsClient]):
    """Encrypts and decrypts envelopes of any size. Safe for threads.

    Whatever asks the KMS raises `CallFailed`; all methods raise `ValueError` once the cipher is closed.
    """

    def encrypt(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """An envelope. `aad`, of any length, is not in it and needed again to decrypt."""
        return self._take(self._encrypt(plaintext, aad))

    def decrypt(self, envelope: bytes, aad: bytes = b"") -> SecretBytes:
        """What an envelope holds.

        Raises `InvalidField` for what is no envelope, or of a key that is not accepted, and
        `DecryptionFailed`.
        """
        return self._take(self._decrypt(envelope, aad))

    def encrypting(self, sink: Sink, aad: bytes = b"") -> EnvelopeWriter:
        """A file; what is written to it goes encrypted into sink, in constant memory."""
        return self._take(self._encrypting(sink, aad))

    def decrypting(self, source: Source, aad: bytes = b"") -> EnvelopeReader:
        """A file that reads what the envelope in source holds, in constant memory.

        Raises as `decrypt`, for a wrong `aad` at once.
        """
        return self._take(self._decrypting(source, aad))

    def rewrap(self, source: Source, sink: Sink) -> None:
        """The envelope with its data key wrapped anew by the primary version of the key, in constant memory.

        The KMS moves the data key; nothing is decrypted here, or verified. Raises `InvalidField`.
        """
        self._take(self._rewrap(source, sink))

    def _take(self, steps: Steps[T]) -> T:
        try:
            asked = next(steps)
            while True:
                try:
                    answer = self._client.run(*asked)
                except CallFailed as failure:
                    asked = steps.throw(failure)
                else:
                    asked = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
        return result

    def close(self) -> None:
        """Drops all data keys."""
        self._drop_keys()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEnvelopeCipher(_Envelopes[AsyncKmsClient]):
    """`EnvelopeCipher` for asyncio. The KMS is awaited; sinks and sources are ordinary files."""

    async def encrypt(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        return await self._take(self._encrypt(plaintext, aad))

    async def decrypt(self, envelope: bytes, aad: bytes = b"") -> SecretBytes:
        return await self._take(self._decrypt(envelope, aad))

    async def encrypting(self, sink: Sink, aad: bytes = b"") -> EnvelopeWriter:
        return await self._take(self._encrypting(sink, aad))

    async def decrypting(self, source: Source, aad: bytes = b"") -> EnvelopeReader:
        return await self._take(self._decrypting(source, aad))

    async def rewrap(self, source: Source, sink: Sink) -> None:
        await self._take(self._rewrap(source, sink))

    async def _take(self, steps: Steps[T]) -> T:
        try:
            asked = next(steps)
            while True:
                try:
                    answer = await self._client.run(*asked)
                except CallFailed as failure:
                    asked = steps.throw(failure)
                else:
                    asked = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
        return result

    async def close(self) -> None:
        self._drop_keys()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
