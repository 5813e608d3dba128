"""Everything that anyone can read of a sealed secret, and what is wrong with it, without any key."""

import io
from dataclasses import dataclass

from blindfold.envelope import Header, Source, read_header, read_some
from blindfold.errors import BlindfoldError, Corrupt
from blindfold.exponent import Binding
from blindfold.stream import CHUNK, TAG


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was read. Nothing of it is authenticated before the secret is opened.

    `payload_size` is in bytes, tags included. `problem` is empty, or says what is wrong; `header` is None
    where it could not be read.
    """

    header: Header | None
    payload_size: int
    chunks: int
    problem: str

    def to_json(self) -> dict[str, object]:
        result: dict[str, object] = {
            "ok": not self.problem,
            "problem": self.problem,
            "payload_size": self.payload_size,
            "chunks": self.chunks,
        }
        if self.header is None:
            return result
        lock, metadata = self.header.lock, self.header.metadata
        policy = lock.policy
        return result | {
            "tenant": lock.tenant,
            "key_version": lock.key_version,
            "key_fingerprint": lock.fingerprint.hex(),
            "binding": lock.binding.name,
            "policy_digest": lock.binding_value.hex() if lock.binding is Binding.REVISION else None,
            "policy_name": policy[0] if policy else None,
            "policy_uid": policy[1].hex() if policy else None,
            "element_bits": 8 * len(lock.element),
            "name": metadata.name,
            "content_type": metadata.content_type,
            "created": metadata.created,
            "padded": metadata.padded,
        }


def inspect(sealed: bytes | Source) -> Inspection:
    """Read the public part, and measure the payload to its end. Never raises for bad input."""
    source: Source = io.BytesIO(sealed) if isinstance(sealed, bytes) else sealed
    header: Header | None = None
    size = 0
    try:
        header, _, _ = read_header(source)
        while piece := read_some(source, CHUNK):
            size += len(piece)
        count, rest = divmod(size, CHUNK + TAG)
        if size < TAG or 0 < rest < TAG or (rest == TAG and count):
            raise Corrupt(f"the payload is cut off: its last chunk has {rest} bytes")
        return Inspection(header, size, count + (rest > 0), "")
    except BlindfoldError as error:
        problem = f"{type(error).__name__}: {error}"
    return Inspection(header, size, 0, problem)
