"""Shares that k of n people hold as root of trust: SLIP-39 mnemonics of 32 random bytes, the provider's key.

`docs/spec/store.md`, "Root of trust"; why this library, and what it does not do, is in
`docs/adr/0027-shares-prove-themselves.md`.
"""

import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from shamir_mnemonic import MnemonicError, Share, combine_mnemonics, generate_mnemonics

from blindfold._encoding import b64url, unb64url
from blindfold.errors import Corrupt
from blindfold.secret import SecretBytes
from kms.crypto.key_hierarchy import derive
from kms.crypto.root_of_trust import software
from kms.crypto.root_of_trust.interface import RootKeyRecord, WrongRootMaterial, check_provider
from kms.errors import InvalidField, Kind, KmsError, StoreTampered

MIN_THRESHOLD = 2
MAX_SHARES = 16
MAX_TEXT = 1024
_KEY_SIZE = 32
_PROOF_SIZE = 16
# SLIP-39 encrypts what it shares under a passphrase, here the empty one, so that iterations add nothing.
_ITERATION_EXPONENT = 0
_PARAMETERS = {"identifier", "threshold", "proofs"}


def check_counts(threshold: int, count: int) -> None:
    """Raises `InvalidField` unless 2 <= threshold <= count <= 16."""
    if not MIN_THRESHOLD <= count <= MAX_SHARES:
        raise InvalidField("shares", f"must be {MIN_THRESHOLD} to {MAX_SHARES}")
    if not MIN_THRESHOLD <= threshold <= count:
        raise InvalidField("threshold", f"must be {MIN_THRESHOLD} or more, and no more than the shares")


class WrongShare(WrongRootMaterial):
    """A share, soundly written, that is none of the set in force. One text, whatever is wrong with it."""

    reason = "WRONG_SHARE"
    hint = "It is of an earlier set, of another store, or forged. Look for the newest one."

    def __init__(self) -> None:
        super().__init__("this is not a share of the set that protects this store")


class ShareRepeated(KmsError):
    """A share that was given already. It counts once."""

    kind = Kind.ALREADY_EXISTS
    reason = "SHARE_REPEATED"
    hint = "Another holder's share is needed."

    def __init__(self) -> None:
        super().__init__("this share was given already")


@dataclass(frozen=True, slots=True)
class ShareSet:
    """What the record knows of the shares; nothing in it is secret. `proofs` has one for each share.

    A proof tells whether a share is right when it is given alone, so that a wrong one spoils nothing.
    """

    identifier: int
    threshold: int
    proofs: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Raises `InvalidField`."""
        check_counts(self.threshold, len(self.proofs))

    @classmethod
    def of(cls, record: RootKeyRecord) -> Self:
        """Raises `ConfigError` for another provider's record, `StoreTampered` for a changed one."""
        check_provider(record, Shamir.provider)
        try:
            found = cls._parse(record.parameters)
        except (KeyError, ValueError, Corrupt, InvalidField):
            found = None
        if found is None or found.to_parameters() != record.parameters:
            raise StoreTampered("the share parameters of the store are damaged")
        return found

    @classmethod
    def _parse(cls, parameters: Mapping[str, str]) -> Self:
        proofs = tuple(unb64url(text) for text in parameters["proofs"].split(" "))
        return cls(int(parameters["identifier"]), int(parameters["threshold"]), proofs)

    def to_parameters(self) -> Mapping[str, str]:
        proofs = " ".join(b64url(proof) for proof in self.proofs)
        numbers = {"identifier": str(self.identifier), "threshold": str(self.threshold)}
        return MappingProxyType({**numbers, "proofs": proofs})

    def number_of(self, text: SecretBytes) -> int:
        """The number of a share, from 1. Raises `InvalidField` for a slip of the pen, `WrongShare`."""
        share = _read(text)
        form = (share.identifier, share.member_threshold, share.group_threshold, share.group_count)
        if (
            form == (self.identifier, self.threshold, 1, 1)
            and share.index < len(self.proofs)
            and hmac.compare_digest(_proof(share), self.proofs[share.index])
        ):
            return int(share.index) + 1
        raise WrongShare

    def combine(self, shares: Sequence[SecretBytes]) -> SecretBytes:
        """The provider's key, of `threshold` shares. Raises `InvalidField`, `WrongShare`, `ShareRepeated`."""
        if len(shares) != self.threshold:
            raise InvalidField("shares", f"must be {self.threshold}")
        if len({self.number_of(share) for share in shares}) != len(shares):
            raise ShareRepeated
        try:
            return SecretBytes(combine_mnemonics([share.reveal().decode("ascii") for share in shares]))
        except MnemonicError:
            pass
        raise WrongShare


class Shamir:
    """See `interface.RootOfTrust`. It holds the key that the shares are of, not the shares."""

    provider = "shamir"
    warning = ""

    def __init__(self, key: SecretBytes, shares: ShareSet) -> None:
        self._key = key
        self._shares = shares

    @classmethod
    def create(
        cls, threshold: int, count: int, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> tuple[Self, list[SecretBytes]]:
        """A new key, and its shares as SLIP-39 mnemonics in ASCII: to be given out, and kept nowhere.

        Raises `InvalidField` unless 2 <= threshold <= count <= 16.
        """
        check_counts(threshold, count)
        key = SecretBytes(random_bytes(_KEY_SIZE))
        [texts] = generate_mnemonics(
            1, [(threshold, count)], key.reveal(), iteration_exponent=_ITERATION_EXPONENT
        )
        shares = [SecretBytes(text.encode("ascii")) for text in texts]
        read = [_read(share) for share in shares]
        return cls(key, ShareSet(read[0].identifier, threshold, tuple(map(_proof, read)))), shares

    @classmethod
    def combine(cls, record: RootKeyRecord, shares: Sequence[SecretBytes]) -> Self:
        """Raises as `ShareSet.of` and `ShareSet.combine`."""
        known = ShareSet.of(record)
        return cls(known.combine(shares), known)

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        parameters = self._shares.to_parameters()
        return software.protect(self._key, root_key, store_id, self.provider, parameters)

    def unlock(self, record: RootKeyRecord) -> SecretBytes:
        check_provider(record, self.provider)
        return software.unlock(self._key, record)


def _read(text: SecretBytes) -> Share:
    """Raises `InvalidField`; not with the library's words, which quote the share."""
    share = None
    if len(text) <= MAX_TEXT:
        try:
            share = Share.from_mnemonic(text.reveal().decode("ascii"))
        except (MnemonicError, UnicodeDecodeError):
            share = None
    if share is None or len(share.value) != _KEY_SIZE:
        raise InvalidField("share", "is not one: compare its words with the paper, there is a slip in them")
    return share


def _proof(share: Share) -> bytes:
    """It says of a share no more than a hash says of 32 random bytes."""
    with SecretBytes(share.value) as value:
        return derive(value, b"kms/v1 share proof", _PROOF_SIZE).reveal()
