"""A tenant's private key: two safe primes, checked, and their byte form (docs/spec/blindfold.md, "Keys")."""

from dataclasses import dataclass
from typing import Any, NoReturn, Self

from blindfold import _primitives
from blindfold._encoding import Reader, lp, u8
from blindfold._frames import clearing
from blindfold._primitives import Integer
from blindfold.errors import Corrupt, KeyUnacceptable
from blindfold.modulus import check_modulus
from blindfold.secret import SecretBytes

FORMAT = 1
DISTANCE_SLACK_BITS = 100


@dataclass(init=False, frozen=True, slots=True, repr=False, eq=False)
class PrivateKey:
    """Two primes p and q and their product n, redacted; it is neither copied, pickled nor compared.

    Held to the shape of safe primes: equal sizes, two top bits set, 11 modulo 12, |p-q| > 2^(bits/2-100),
    and the public checks on n. Whether they are prime is `check_primes`, which costs some tens of
    milliseconds. `test_only` lets sizes from 512 bits pass. GMP integers cannot be wiped: the key lasts as
    long as the process may need it. Raises `KeyUnacceptable`.
    """

    p: Integer
    q: Integer
    n: int

    @clearing
    def __init__(self, p: "int | Integer", q: "int | Integer", *, test_only: bool = False) -> None:
        object.__setattr__(self, "p", _primitives.integer(p))
        object.__setattr__(self, "q", _primitives.integer(q))
        object.__setattr__(self, "n", int(self.p * self.q))
        check_modulus(self.n, test_only=test_only)
        half = self.n.bit_length() // 2
        if not all(has_safe_form(prime, half) for prime in (self.p, self.q)):
            raise KeyUnacceptable("the factors do not have the form of safe primes")
        if not are_far_apart(self.p, self.q):
            raise KeyUnacceptable("the factors are too close to each other")

    @clearing
    def check_primes(self) -> None:
        """Raise `KeyUnacceptable` unless p, q, (p-1)/2 and (q-1)/2 are prime."""
        if not all(_primitives.is_prime(value) for p in (self.p, self.q) for value in (p, p >> 1)):
            raise KeyUnacceptable("the factors are not safe primes")

    def to_bytes(self) -> SecretBytes:
        """u8 version 1 || lp(p) || lp(q), big-endian without leading zeros."""
        p, q = (int(prime).to_bytes((prime.bit_length() + 7) // 8, "big") for prime in (self.p, self.q))
        return SecretBytes(u8(FORMAT) + lp(p) + lp(q))

    @classmethod
    @clearing
    def from_bytes(cls, data: bytes, *, test_only: bool = False) -> Self:
        """The inverse of `to_bytes`. Raises `KeyUnacceptable` for anything it would not have written."""
        try:
            reader = Reader(data)
            version = reader.integer(1, "version")
            p, q = (int.from_bytes(reader.lp("prime"), "big") for _ in range(2))
        except Corrupt:
            version = 0
        if version != FORMAT:
            raise KeyUnacceptable("not the byte form of a private key")
        key = cls(p, q, test_only=test_only)
        if not _primitives.is_equal(key.to_bytes().reveal(), data):
            raise KeyUnacceptable("not the byte form of a private key")
        return key

    def __repr__(self) -> str:
        return f"PrivateKey({self.n.bit_length()} bits)"

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a private key is neither copied, pickled, hashed nor compared; call to_bytes()")

    __eq__ = __ne__ = __hash__ = __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = _refuse


def has_safe_form(prime: Integer, bits: int) -> bool:
    """Whether a number has the size, the two top bits and the residue of the safe primes used here."""
    return bool(prime.bit_length() == bits and prime >> (bits - 2) == 3 and prime % 12 == 11)


def are_far_apart(p: Integer, q: Integer) -> bool:
    """Whether |p-q| > 2^(bits/2-100), so that Fermat's factoring method finds nothing."""
    return bool(abs(p - q) > 1 << (p.bit_length() - DISTANCE_SLACK_BITS))
