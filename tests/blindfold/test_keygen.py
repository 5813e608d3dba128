"""Tenant keys: what is generated, how the search ends, and the private key's byte form."""

import copy
import io
import math
import os
import pickle
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from blindfold import _primitives, keygen
from blindfold._encoding import lp, u8, u32
from blindfold.errors import GenerationFailed, InputInvalid, KeyUnacceptable
from blindfold.keygen import (
    WINDOW,
    generate,
    generate_safe_prime,
    is_fermat_base_2,
    is_proven_safe,
    search_window,
    serve,
    sieve_primes,
    sieve_window,
)
from blindfold.private_key import PrivateKey, are_far_apart, has_safe_form

BITS = 512


class Cancelled(Exception):
    pass


@pytest.fixture(scope="module")
def primes() -> tuple[int, int]:
    return int(generate_safe_prime(BITS // 2)), int(generate_safe_prime(BITS // 2))


@pytest.fixture(scope="module")
def key(primes: tuple[int, int]) -> PrivateKey:
    return PrivateKey(*primes, test_only=True)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """The worker processes that a test starts."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def recorded(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", recorded)
    return started


def assert_proper(key: PrivateKey, bits: int) -> None:
    assert key.n == key.p * key.q
    assert key.n.bit_length() == bits
    assert key.n % 12 == 1
    assert abs(key.p - key.q) > 1 << (bits // 2 - 100)
    for prime in (key.p, key.q):
        assert prime.bit_length() == bits // 2
        assert prime >> (bits // 2 - 2) == 0b11
        assert prime % 12 == 11
        assert _primitives.is_prime(prime)
        assert _primitives.is_prime(prime // 2)


# Generation


@pytest.mark.parametrize("bits", [512, 768])
def test_a_generated_key_has_two_safe_primes(bits: int) -> None:
    assert_proper(generate(bits, workers=2, test_only=True), bits)


@pytest.mark.slow
def test_a_generated_key_of_2048_bits_has_two_safe_primes() -> None:
    assert_proper(generate(2048, test_only=True), 2048)


@pytest.mark.slow
def test_the_default_key_has_3072_bits() -> None:
    assert_proper(generate(), 3072)


@pytest.mark.parametrize("bits", [512, 1024, 2048, 3071, 3073, 8192])
def test_other_sizes_are_refused_before_any_worker_starts(
    bits: int, workers: list["subprocess.Popen[bytes]"]
) -> None:
    with pytest.raises(InputInvalid):
        generate(bits)
    assert workers == []


@pytest.mark.parametrize("bits", [256, 496, 520, 4112])
def test_test_only_has_limits_too(bits: int) -> None:
    with pytest.raises(InputInvalid):
        generate(bits, test_only=True)


def test_progress_counts_candidates_and_primes() -> None:
    calls: list[tuple[int, int]] = []
    generate(BITS, workers=2, progress=lambda tested, found: calls.append((tested, found)), test_only=True)
    assert calls[-1][1] == 2
    assert calls[-1][0] > 0
    assert calls == sorted(calls)


def test_as_many_workers_run_as_asked_and_none_stays(workers: list["subprocess.Popen[bytes]"]) -> None:
    generate(BITS, workers=3, test_only=True)
    assert len(workers) == 3
    assert all(worker.returncode is not None for worker in workers)


def test_by_default_each_cpu_has_a_worker(
    workers: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    generate(BITS, test_only=True)
    assert len(workers) == 1


def test_no_argument_or_variable_of_a_worker_holds_a_secret(workers: list["subprocess.Popen[bytes]"]) -> None:
    generate(BITS, workers=1, test_only=True)
    assert workers[0].args == [
        sys.executable, "-P", "-c", "from blindfold.keygen import serve; serve(256)",
    ]  # fmt: skip


def test_raising_from_progress_cancels_and_ends_the_workers(
    workers: list["subprocess.Popen[bytes]"],
) -> None:
    def cancel(tested: int, found: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        generate(4096, workers=2, progress=cancel)
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, -signal.SIGKILL]


def test_a_killed_worker_leaves_the_search_to_the_others(workers: list["subprocess.Popen[bytes]"]) -> None:
    def kill_first(tested: int, found: int) -> None:
        workers[0].kill()

    assert_proper(generate(768, workers=2, progress=kill_first, test_only=True), 768)


def test_when_every_worker_is_killed_generation_fails(workers: list["subprocess.Popen[bytes]"]) -> None:
    def kill_all(tested: int, found: int) -> None:
        for worker in workers:
            worker.kill()

    with pytest.raises(GenerationFailed):
        generate(4096, workers=2, progress=kill_all)


def test_workers_that_cannot_start_fail_the_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(GenerationFailed):
        generate(BITS, workers=2, test_only=True)


def test_primes_too_close_are_passed_over(primes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = primes
    monkeypatch.setattr(keygen, "_primes", lambda reports, progress: iter([p, p, p + 12, q]))
    key = generate(BITS, workers=1, test_only=True)
    assert (key.p, key.q) == (p, q)


PARENT = """
from blindfold.keygen import generate
generate(4096, workers=2, progress=lambda tested, found: print(tested, flush=True))
"""


def test_workers_end_quietly_when_their_parent_is_killed() -> None:
    # The workers hold the parent's standard error: its end is theirs.
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline()
        parent.kill()
        _, errors = parent.communicate(timeout=60)
    assert errors == b""


# What a worker runs


def read_reports(data: bytes) -> list[tuple[int, int]]:
    stream, reports = io.BytesIO(data), []
    while head := stream.read(6):
        size = int.from_bytes(head[4:], "big")
        reports.append((int.from_bytes(head[:4], "big"), int.from_bytes(stream.read(size), "big")))
    return reports


def test_a_worker_reports_until_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[tuple[int, int]] = []

    def write(descriptor: int, data: bytes) -> int:
        assert descriptor == 1
        reports.extend(read_reports(data))
        if len({bool(prime) for _, prime in reports}) == 2:
            raise BrokenPipeError
        return len(data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(keygen, "REPORT_EVERY", 4)
        serve(BITS // 2)
    primes = [prime for _, prime in reports if prime]
    assert primes
    assert all(has_safe_form(_primitives.integer(prime), BITS // 2) for prime in primes)
    assert all(tested < 4 if prime else tested == 4 for tested, prime in reports)


def test_reports_fit_the_atomic_write_of_a_pipe_at_the_largest_size() -> None:
    assert len(u32(0) + lp(bytes(4096 // 16))) <= 512


def test_a_report_cut_off_is_the_end() -> None:
    prime = 11
    data = u32(7) + lp(b"") + u32(5) + lp(bytes([prime])) + u32(1)[:3]
    calls: list[tuple[int, int]] = []
    found = keygen._primes(io.BytesIO(data), lambda tested, found: calls.append((tested, found)))
    assert next(found) == prime
    with pytest.raises(GenerationFailed):
        next(found)
    assert calls == [(7, 0), (12, 1)]


# The search


@pytest.mark.parametrize("bits", [128, 129, 200, 256])
def test_a_safe_prime_has_its_size_form_and_primality(bits: int) -> None:
    tested = []
    prime = generate_safe_prime(bits, lambda: tested.append(1))
    assert has_safe_form(prime, bits)
    assert _primitives.is_prime(prime)
    assert _primitives.is_prime(prime // 2)
    assert tested


def test_the_start_comes_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []

    def search(start: int, tick: Callable[[], None]) -> int | None:
        starts.append(start)
        return None if len(starts) < 3 else 23

    def randbelow(bound: int) -> int:
        return (0, bound - 1, bound // 2)[len(starts)]

    monkeypatch.setattr(keygen, "search_window", search)
    monkeypatch.setattr(secrets, "randbelow", randbelow)
    assert generate_safe_prime(256) == 23
    for start in starts:
        assert start % 6 == 5
        for candidate in (2 * start + 1, 2 * (start + 6 * (WINDOW - 1)) + 1):
            assert has_safe_form(_primitives.integer(candidate), 256)
    assert len(set(starts)) == 3


def test_the_sieve_leaves_exactly_what_has_no_small_factor() -> None:
    start = (3 << 200) + 12345
    start += (5 - start) % 6
    product = _primitives.integer(math.prod(sieve_primes()))
    sieve = sieve_window(start)
    assert len(sieve) == WINDOW
    for index in (*range(200), *range(WINDOW - 200, WINDOW)):
        half = start + 6 * index
        both = half * (2 * half + 1)
        assert sieve[index] == (math.gcd(both, int(product % both)) == 1)


def test_the_sieve_primes_are_all_from_5_to_the_limit() -> None:
    assert sieve_primes()[:6] == (5, 7, 11, 13, 17, 19)
    assert len(sieve_primes()) == 82025 - 2
    assert all(_primitives.is_prime(prime) for prime in sieve_primes()[-50:])


def test_a_window_without_a_safe_prime_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keygen, "sieve_window", lambda start: bytearray(b"\x00\x01\x00\x01"))
    tested = []
    assert search_window((1 << 200) + 5, lambda: tested.append(1)) is None
    assert len(tested) == 2


CASES = {
    "both prime": (83, True),
    "p composite": (17, False),
    "p a pseudoprime that 3 divides": (280, False),
    "p' a pseudoprime, p prime": (341, False),
}


@pytest.mark.parametrize(("half", "safe"), CASES.values(), ids=CASES.keys())
def test_both_halves_of_a_safe_prime_are_proven(half: int, safe: bool) -> None:
    assert is_proven_safe(_primitives.integer(half)) is safe


def test_a_pseudoprime_passes_fermat_alone() -> None:
    assert is_fermat_base_2(_primitives.integer(341))
    assert not is_fermat_base_2(_primitives.integer(343))


# The private key's form


def test_a_key_comes_back_from_its_bytes(key: PrivateKey) -> None:
    data = key.to_bytes().reveal()
    again = PrivateKey.from_bytes(data, test_only=True)
    assert (again.p, again.q, again.n) == (key.p, key.q, key.n)
    assert again.to_bytes().reveal() == data
    assert data == u8(1) + lp(int(key.p).to_bytes(32, "big")) + lp(int(key.q).to_bytes(32, "big"))


def encoded(p: int, q: int, size: int = 32) -> bytes:
    return u8(1) + lp(p.to_bytes(size, "big")) + lp(q.to_bytes(size, "big"))


def prime_above(number: int, residue: int) -> int:
    """The first prime from number on that is residue modulo 12."""
    number += (residue - number) % 12
    while not _primitives.is_prime(number):
        number += 12
    return number


FORM = "byte form"
MODULUS = "modulus"
FACTORS = "form of safe primes"

WRONG_BYTES: dict[str, tuple[str, Callable[[int, int], bytes]]] = {
    "empty": (FORM, lambda p, q: b""),
    "version alone": (FORM, lambda p, q: u8(1)),
    "version 0": (FORM, lambda p, q: u8(0) + encoded(p, q)[1:]),
    "version 2": (FORM, lambda p, q: u8(2) + encoded(p, q)[1:]),
    "cut off": (FORM, lambda p, q: encoded(p, q)[:-1]),
    "one prime": (FORM, lambda p, q: encoded(p, q)[:35]),
    "trailing byte": (FORM, lambda p, q: encoded(p, q) + b"\x00"),
    "third prime": (FORM, lambda p, q: encoded(p, q) + encoded(p, q)[1:35]),
    "leading zero": (FORM, lambda p, q: encoded(p, q, 33)),
    "zero": (MODULUS, lambda p, q: encoded(0, 0)),
    "empty primes": (MODULUS, lambda p, q: u8(1) + lp(b"") + lp(b"")),
    "p * q too short": (MODULUS, lambda p, q: encoded(p >> 16, q)),
    "p * q too long": (MODULUS, lambda p, q: encoded(p << 16, q, 34)),
    "p even": (MODULUS, lambda p, q: encoded(p - 1, q)),
    "a prime factor below 2^16": (MODULUS, lambda p, q: encoded(65519 * prime_above(3 << 238, 1), q)),
    "p and q 5 modulo 12": (FACTORS, lambda p, q: encoded(prime_above(p, 5), prime_above(q, 5))),
    "p too low": (FACTORS, lambda p, q: encoded(prime_above(5 << 253, 11), prime_above(7 << 253, 11))),
    "unequal sizes": (
        FACTORS,
        lambda p, q: encoded(prime_above(3 << 246, 11), prime_above(3 << 262, 11), 33),
    ),
    "p twice": ("too close", lambda p, q: encoded(p, p)),
    "close primes": ("too close", lambda p, q: encoded(p, prime_above(p + 1, 11))),
}


@pytest.mark.parametrize(("words", "make"), WRONG_BYTES.values(), ids=WRONG_BYTES.keys())
def test_other_bytes_are_not_a_key(
    primes: tuple[int, int], words: str, make: Callable[[int, int], bytes]
) -> None:
    with pytest.raises(KeyUnacceptable, match=words) as caught:
        PrivateKey.from_bytes(make(*primes), test_only=True)
    assert caught.value.__context__ is None
    assert not any(str(number) in str(caught.value) for number in primes)


def test_a_small_key_is_refused_without_test_only(primes: tuple[int, int], key: PrivateKey) -> None:
    with pytest.raises(KeyUnacceptable):
        PrivateKey.from_bytes(key.to_bytes().reveal())
    with pytest.raises(KeyUnacceptable):
        PrivateKey(*primes)


def test_the_least_distance_is_refused() -> None:
    p = _primitives.integer((3 << 254) + 11)
    assert not are_far_apart(p, p + (1 << 156))
    assert are_far_apart(p, p + (1 << 156) + 12)


def test_primes_that_are_not_safe_are_found_out(primes: tuple[int, int], key: PrivateKey) -> None:
    key.check_primes()
    unsafe = PrivateKey(prime_above(primes[0] + 1, 11), primes[1], test_only=True)
    with pytest.raises(KeyUnacceptable):
        unsafe.check_primes()


REFUSED: dict[str, Callable[[PrivateKey], object]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "hash": hash,
    "compare": lambda key: key == key,
    "set p": lambda key: setattr(key, "p", 1),
}


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED.keys())
def test_a_key_is_neither_copied_nor_changed(key: PrivateKey, act: Callable[[PrivateKey], object]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        act(key)


def test_a_key_shows_its_size_alone(key: PrivateKey) -> None:
    assert repr(key) == str(key) == "PrivateKey(512 bits)"
