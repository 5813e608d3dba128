"""CRC32C in messages: a field `{field}_crc32c` is that of `{field}` (protos/kms/v1/crypto.proto)."""

from collections.abc import Sequence

from google.protobuf.message import Message

from kms.crypto.checksum import checksum, verify

SUFFIX = "_crc32c"


class Checksums:
    """The checksums of the requests and answers of one method."""

    def __init__(self, request: type[Message], answer: type[Message]) -> None:
        self._asked = _pairs(request)
        self._given = _pairs(answer)

    def verify(self, request: Message) -> bool:
        """Whether the answer is to have checksums: where the request brought one, or cannot bring any.

        Raises `ChecksumMismatch`.
        """
        wanted = not self._asked
        for name, name_crc32c in self._asked:
            if request.HasField(name_crc32c):
                verify(getattr(request, name), getattr(request, name_crc32c), name)
                wanted = True
        return wanted

    def add(self, answer: Message) -> None:
        """Set those of an answer."""
        for name, name_crc32c in self._given:
            setattr(answer, name_crc32c, checksum(getattr(answer, name)))


def _pairs(message: type[Message]) -> Sequence[tuple[str, str]]:
    names = message.DESCRIPTOR.fields_by_name
    return [(name.removesuffix(SUFFIX), name) for name in names if name.endswith(SUFFIX)]
