"""Where a call's event stands in the audit chain, for the caller to keep (docs/spec/audit.md, "Receipts")."""

import re
from typing import NamedTuple, Self

from kms.model.chain import HASH_SIZE, Malformed

_FORM = re.compile(rf"([1-9][0-9]{{0,15}}):([0-9a-f]{{32}}):([0-9a-f]{{{2 * HASH_SIZE}}})", re.ASCII)


class Receipt(NamedTuple):
    """The last event of a unit: its sequence number, its id, and the chain hash there.

    Its text is `{sequence}:{event id}:{chain hash}`, the latter two in lower-case hex.
    """

    sequence: int
    event_id: str
    chain_hash: bytes

    def __str__(self) -> str:
        return f"{self.sequence}:{self.event_id}:{self.chain_hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises `Malformed`."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise Malformed("not a receipt")
        return cls(int(match[1]), match[2], bytes.fromhex(match[3]))
