"""Tenant key generation: two safe primes, searched by worker processes (docs/spec/blindfold.md, "Keys").

The search takes a variable time, which is of use to nobody: each candidate is tested once and then dropped,
but for the one that is kept.
"""

import math
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import BinaryIO

from blindfold import _primitives
from blindfold._encoding import lp, u32
from blindfold._frames import clearing
from blindfold._primitives import Integer
from blindfold.errors import GenerationFailed, InputInvalid
from blindfold.modulus import ALLOWED_BITS, DEFAULT_BITS, MIN_TEST_BITS
from blindfold.private_key import PrivateKey, are_far_apart

SIEVE_LIMIT = 1 << 20
WINDOW = 1 << 17
MILLER_RABIN_ROUNDS = 64
REPORT_EVERY = 32
STDOUT = 1

Progress = Callable[[int, int], None]


@clearing
def generate(
    bits: int = DEFAULT_BITS,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    test_only: bool = False,
) -> PrivateKey:
    """A new key whose modulus has exactly `bits` bits: 3072 or 4096, others from 512 only with `test_only`.

    `workers` processes search, by default one per CPU. `progress(tested, found)` is called several times a
    second with the candidates tested so far and the primes found, of two; what it raises ends the search.
    The workers are gone when this returns or raises, and end by themselves if this process is killed.
    Raises `InputInvalid` for a size that is not allowed, `GenerationFailed` if every worker ended.
    """
    if bits not in ALLOWED_BITS and not (test_only and MIN_TEST_BITS <= bits <= 4096 and bits % 16 == 0):
        raise InputInvalid(f"a key of {bits} bits; 3072 or 4096 are allowed")
    with _searching(bits // 2, workers or os.cpu_count() or 1) as reports:
        primes = _primes(reports, progress or (lambda tested, found: None))
        p = next(primes)
        q = next(prime for prime in primes if are_far_apart(p, prime))
    return PrivateKey(p, q, test_only=test_only)


def generate_safe_prime(bits: int, tick: Callable[[], None] = lambda: None) -> Integer:
    """A random safe prime of exactly `bits` bits (128 at least), its two top bits set, 11 modulo 12.

    Searched in this thread. `tick` is called for every candidate tested.
    """
    while True:
        # The last window's length is left out, so that no candidate outgrows the size.
        start = (3 << (bits - 3)) + secrets.randbelow((1 << (bits - 3)) - 6 * WINDOW)
        prime = search_window(start + (5 - start) % 6, tick)
        if prime is not None:
            return prime


def search_window(start: int, tick: Callable[[], None]) -> "Integer | None":
    """The first safe prime 2p'+1 with p' = start + 6i, 0 <= i < WINDOW; start is 5 modulo 6."""
    sieve = sieve_window(start)
    index = sieve.find(1)
    while index >= 0:
        tick()
        half = _primitives.integer(start + 6 * index)
        if is_fermat_base_2(half) and is_proven_safe(half):
            return 2 * half + 1
        index = sieve.find(1, index + 1)
    return None


def sieve_window(start: int) -> bytearray:
    """1 at each i for which neither p' = start + 6i nor 2p'+1 has a prime factor below the limit, else 0."""
    sieve = bytearray(b"\x01") * WINDOW
    for prime in sieve_primes():
        sixth = (prime + 1) // 6 if prime % 6 == 5 else prime - prime // 6
        twelfth = (sixth + prime * (sixth & 1)) // 2
        first = -start * sixth
        for index in (first % prime, (first - twelfth) % prime):
            if index < WINDOW:
                sieve[index::prime] = bytes((WINDOW - 1 - index) // prime + 1)
    return sieve


@cache
def sieve_primes() -> tuple[int, ...]:
    """The primes from 5 to SIEVE_LIMIT; 2 and 3 divide nothing that is 5 or 11 modulo 6."""
    sieve = bytearray(b"\x01") * SIEVE_LIMIT
    for number in range(2, math.isqrt(SIEVE_LIMIT) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, SIEVE_LIMIT, number)))
    return tuple(number for number in range(5, SIEVE_LIMIT) if sieve[number])


def is_fermat_base_2(number: Integer) -> bool:
    """Whether 2^(number-1) == 1 modulo number: no proof, but it ends nearly every composite's case."""
    return bool(_primitives.power(2, number - 1, number) == 1)


def is_proven_safe(half: Integer) -> bool:
    """Whether p' = half and p = 2p'+1 are prime, the cheapest test first.

    p' is tested by BPSW and Miller-Rabin. Given p', p is proven by Pocklington's criterion with base 2:
    p' > sqrt(p) divides p-1, 2^(p-1) == 1 mod p, and gcd(2^2 - 1, p) == 1 as 3 does not divide p.
    """
    prime = 2 * half + 1
    return is_fermat_base_2(prime) and prime % 3 != 0 and _primitives.is_prime(half, MILLER_RABIN_ROUNDS)


def serve(bits: int) -> None:
    """What a worker process runs: report safe primes on standard output, until nobody reads it.

    A report is u32 candidates tested since the last || lp(prime, or nothing). It fits the pipe's atomic
    write, so that workers share one pipe, and one that is killed leaves no half of a report.
    """
    tested = 0

    def report(prime: bytes) -> None:
        nonlocal tested
        os.write(STDOUT, u32(tested) + lp(prime))
        tested = 0

    def tick() -> None:
        nonlocal tested
        tested += 1
        if tested == REPORT_EVERY:
            report(b"")

    try:
        while True:
            report(int(generate_safe_prime(bits, tick)).to_bytes(bits // 8, "big"))
    except BrokenPipeError:
        return


@contextmanager
def _searching(bits: int, workers: int) -> Iterator[BinaryIO]:
    """The reports of as many worker processes, which end with this context.

    A process of its own program, not a fork: this one may have threads and open connections. Its output is
    the only way a prime travels; each worker's writes fail, and it ends, once the reading end is gone.
    """
    command = [sys.executable, "-P", "-c", f"from blindfold.keygen import serve; serve({bits})"]
    read_end, write_end = os.pipe()
    with ExitStack() as stack:
        reports = stack.enter_context(os.fdopen(read_end, "rb"))
        with os.fdopen(write_end, "wb") as output:
            for _ in range(workers):
                process = subprocess.Popen(  # noqa: S603 - the command is ours but for a number
                    command, stdin=subprocess.DEVNULL, stdout=output, start_new_session=True
                )
                stack.callback(_end, process)
        yield reports


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _primes(reports: BinaryIO, progress: Progress) -> Iterator[int]:
    """The primes as the workers report them. Raises `GenerationFailed` when no worker is left."""
    tested = found = 0
    while True:
        head = reports.read(6)
        if len(head) < 6:
            raise GenerationFailed("all worker processes ended before two primes were found")
        tested += int.from_bytes(head[:4], "big")
        prime = int.from_bytes(reports.read(int.from_bytes(head[4:], "big")), "big")
        found += bool(prime)
        progress(tested, found)
        if prime:
            yield prime
