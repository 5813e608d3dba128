"""Who gets the shares of a new root of trust."""

from collections.abc import Sequence
from dataclasses import dataclass

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.shamir import Shamir, check_counts
from kms.crypto.wrapped_share import ShareHeader, WrappedShare, fingerprint, wrap_share
from kms.errors import InvalidField


@dataclass(frozen=True, slots=True)
class Sharing:
    """`threshold` of `count` shares. `holders` have a public key (PEM) each, or there are none: in clear.

    Raises `InvalidField`, also for one key twice: its holder would have two shares.
    """

    threshold: int
    count: int
    holders: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        check_counts(self.threshold, self.count)
        if self.holders and len(self.holders) != self.count:
            raise InvalidField("share_keys", f"must be {self.count}, one for each share")
        if len({fingerprint(holder) for holder in self.holders}) != len(self.holders):
            raise InvalidField("share_keys", "name one holder twice")

    def create(self) -> tuple[Shamir, list[SecretBytes]]:
        """A new key and its shares."""
        return Shamir.create(self.threshold, self.count)

    def hand_out(self, shares: Sequence[SecretBytes], store_id: bytes) -> list[WrappedShare]:
        """Each holder's; none where they are given out in clear."""
        return [
            wrap_share(share, ShareHeader(store_id, number, self.threshold, self.count), holder)
            for number, (share, holder) in enumerate(zip(shares, self.holders, strict=False), start=1)
        ]
