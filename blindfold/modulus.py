"""What a client checks of a tenant's modulus, and of a group element, before it uses them."""

import math
from functools import cache

from blindfold.errors import ElementOutOfRange, KeyUnacceptable

DEFAULT_BITS = 3072
ALLOWED_BITS = (3072, 4096)
MIN_TEST_BITS = 512
SMALL_PRIME_LIMIT = 1 << 16


@cache
def _small_primorial() -> int:
    """The product of all primes below 2^16."""
    sieve = bytearray([1]) * SMALL_PRIME_LIMIT
    sieve[:2] = b"\x00\x00"
    for number in range(2, math.isqrt(SMALL_PRIME_LIMIT) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, SMALL_PRIME_LIMIT, number)))
    return math.prod(number for number, is_prime in enumerate(sieve) if is_prime)


def check_modulus(n: int, *, test_only: bool = False) -> int:
    """Return n if it may be a tenant's modulus: 3072 or 4096 bits, n mod 12 == 1, no prime factor below 2^16.

    `test_only` also lets sizes from 512 bits pass. Raises `KeyUnacceptable`.
    """
    bits = n.bit_length()
    if bits not in ALLOWED_BITS and not (test_only and MIN_TEST_BITS <= bits <= 4096 and bits % 16 == 0):
        raise KeyUnacceptable(f"a modulus of {bits} bits; 3072 or 4096 are allowed")
    if n % 12 != 1:
        raise KeyUnacceptable("the modulus is not 1 modulo 12, so not a product of two safe primes")
    if math.gcd(n, _small_primorial() % n) != 1:
        raise KeyUnacceptable("the modulus has a prime factor below 65536")
    return n


def element_size(n: int) -> int:
    """k: the bytes of a modulus and of each group element."""
    return (n.bit_length() + 7) // 8


def parse_element(data: bytes, n: int, what: str) -> int:
    """The integer of exactly k bytes, in [2, n-2] and coprime to n. Raises `ElementOutOfRange`."""
    if len(data) != element_size(n):
        raise ElementOutOfRange(f"{what} has {len(data)} bytes, {element_size(n)} expected")
    value = int.from_bytes(data, "big")
    if not 2 <= value <= n - 2 or math.gcd(value, n) != 1:
        raise ElementOutOfRange(f"{what} is not a usable element modulo n")
    return value
