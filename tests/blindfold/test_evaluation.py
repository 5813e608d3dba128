"""The private operation: right answers, refused elements, and no answer after any fault."""

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import gmpy2
import pytest

from blindfold import _primitives, derive_exponent, evaluation
from blindfold.errors import ElementOutOfRange, EvaluationFault, InputInvalid
from blindfold.evaluation import PAIR_USES, Evaluator
from blindfold.keygen import generate_safe_prime
from blindfold.private_key import PrivateKey

BITS = 512
ELEMENT = ((1 << 255) - 19).to_bytes(BITS // 8, "big")
FAULT_EXPONENT = 65537


@pytest.fixture(scope="module")
def primes() -> tuple[int, int]:
    return int(generate_safe_prime(BITS // 2)), int(generate_safe_prime(BITS // 2))


@pytest.fixture
def key(primes: tuple[int, int]) -> PrivateKey:
    return PrivateKey(*primes, test_only=True)


@pytest.fixture
def evaluator(key: PrivateKey) -> Evaluator:
    return Evaluator(key)


@pytest.fixture
def exponent(key: PrivateKey) -> int:
    return derive_exponent(key.n, b"info")


def is_root(answer: bytes, element: bytes, exponent: int, n: int) -> bool:
    return pow(int.from_bytes(answer, "big"), exponent, n) == int.from_bytes(element, "big")


def random_element(n: int) -> bytes:
    return int(_primitives.random_unit(n)).to_bytes((n.bit_length() + 7) // 8, "big")


# Answers


@pytest.mark.parametrize("info", [b"", b"one", b"another"])
def test_the_answer_is_the_root_in_k_bytes(evaluator: Evaluator, key: PrivateKey, info: bytes) -> None:
    exponent = derive_exponent(key.n, info)
    answer = evaluator.evaluate(ELEMENT, exponent)
    assert len(answer) == len(ELEMENT)
    assert is_root(answer, ELEMENT, exponent, key.n)


def test_a_small_root_keeps_its_leading_zeros(evaluator: Evaluator, key: PrivateKey, exponent: int) -> None:
    element = pow(7, exponent, key.n).to_bytes(BITS // 8, "big")
    assert evaluator.evaluate(element, exponent) == (7).to_bytes(BITS // 8, "big")


def test_the_ends_of_the_range_are_answered(evaluator: Evaluator, key: PrivateKey, exponent: int) -> None:
    for value in (2, key.n - 2):
        element = value.to_bytes(BITS // 8, "big")
        assert is_root(evaluator.evaluate(element, exponent), element, exponent, key.n)


WRONG_ELEMENTS: dict[str, Callable[[PrivateKey], bytes]] = {
    "empty": lambda key: b"",
    "a byte short": lambda key: ELEMENT[1:],
    "a zero too long": lambda key: b"\x00" + ELEMENT,
    "zero": lambda key: bytes(BITS // 8),
    "one": lambda key: (1).to_bytes(BITS // 8, "big"),
    "n - 1": lambda key: (key.n - 1).to_bytes(BITS // 8, "big"),
    "n": lambda key: key.n.to_bytes(BITS // 8, "big"),
    "n + 1": lambda key: (key.n + 1).to_bytes(BITS // 8, "big"),
    "all ones": lambda key: b"\xff" * (BITS // 8),
    "p": lambda key: int(key.p).to_bytes(BITS // 8, "big"),
    "a multiple of q": lambda key: int(key.q * 12345).to_bytes(BITS // 8, "big"),
}


@pytest.mark.parametrize("make", WRONG_ELEMENTS.values(), ids=WRONG_ELEMENTS.keys())
def test_an_unusable_element_is_refused_before_anything(
    key: PrivateKey, exponent: int, make: Callable[[PrivateKey], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = Evaluator(key)
    monkeypatch.setattr(evaluation, "Prepared", None)
    with pytest.raises(ElementOutOfRange):
        evaluator.evaluate(make(key), exponent)


def test_an_unusable_element_does_not_stop_the_evaluator(
    evaluator: Evaluator, key: PrivateKey, exponent: int
) -> None:
    with pytest.raises(ElementOutOfRange):
        evaluator.evaluate(bytes(BITS // 8), exponent)
    assert is_root(evaluator.evaluate(ELEMENT, exponent), ELEMENT, exponent, key.n)


@pytest.mark.parametrize(
    "exponent", [-3, 0, 1, 2, 65536, (1 << (BITS // 2 - 2)) + 1], ids=lambda exponent: f"{exponent:#x}"
)
def test_what_cannot_be_a_derived_exponent_is_refused(evaluator: Evaluator, exponent: int) -> None:
    with pytest.raises(InputInvalid):
        evaluator.evaluate(ELEMENT, exponent)


def test_the_root_exponent_is_the_inverse(key: PrivateKey, exponent: int) -> None:
    order = int((key.p - 1) * (key.q - 1))
    for value in (3, 5, 65537, exponent):
        assert evaluation.inverse_of_exponent(value, _primitives.integer(order)) == pow(value, -1, order)


def test_an_exponent_without_an_inverse_has_no_root_exponent() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluation.inverse_of_exponent(15, _primitives.integer(4 * 5 * 11))


def test_nothing_is_inverted_modulo_a_secret(
    key: PrivateKey, exponent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moduli = set()
    invert = gmpy2.invert

    def recorded(value: int, modulus: int) -> Any:
        moduli.add(int(modulus))
        return invert(value, modulus)

    monkeypatch.setattr(gmpy2, "invert", recorded)
    evaluator = Evaluator(key)
    assert is_root(evaluator.evaluate(ELEMENT, exponent), ELEMENT, exponent, key.n)
    assert moduli == {key.n, exponent}


# Faults


@dataclass(frozen=True)
class Fault:
    """A bit of one intermediate: the argument (or the result, None) of one call of a step."""

    owner: Any
    step: str
    call: int
    argument: int | None


STEPS = [
    *(Fault(evaluation, "reduced", call, at) for call in (0, 1) for at in (0, 1, None)),
    *(Fault(_primitives, "secret_power", call, at) for call in range(4) for at in (0, 1, 2, None)),
    *(Fault(evaluation, "recombined", 0, at) for at in (0, 1, 3, None)),
]


class Flipped:
    """A step that works, but for one bit; `width` says how many bits the last value had."""

    def __init__(self, fault: Fault, bit: int) -> None:
        self._step = getattr(fault.owner, fault.step)
        self._fault = fault
        self._bit = bit
        self._calls = 0
        self.width = 0

    def __call__(self, *arguments: Any) -> Any:
        struck = self._calls == self._fault.call
        self._calls += 1
        if not struck:
            return self._step(*arguments)
        at = self._fault.argument
        if at is None:
            return self._flip(self._step(*arguments))
        return self._step(*arguments[:at], self._flip(arguments[at]), *arguments[at + 1 :])

    def _flip(self, value: Any) -> Any:
        self.width = int(value).bit_length()
        return value ^ (1 << self._bit)


def assert_stopped(evaluator: Evaluator, element: bytes = ELEMENT) -> None:
    for _ in range(2):
        with pytest.raises(EvaluationFault) as caught:
            evaluator.evaluate(element, FAULT_EXPONENT)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("fault", STEPS, ids=lambda fault: f"{fault.step}-{fault.call}-{fault.argument}")
def test_any_bit_flipped_in_a_step_leaves_no_answer(
    key: PrivateKey, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    bit, width = 0, 1
    while bit < width:
        evaluator = Evaluator(key)
        evaluator.evaluate(ELEMENT, FAULT_EXPONENT)
        flipped = Flipped(fault, bit)
        with monkeypatch.context() as patch:
            patch.setattr(fault.owner, fault.step, flipped)
            with pytest.raises(EvaluationFault):
                evaluator.evaluate(ELEMENT, FAULT_EXPONENT)
        assert_stopped(evaluator)
        bit, width = bit + 1, max(width, flipped.width)
    assert bit > 60


@pytest.mark.parametrize("warm", [True, False], ids=["pair at hand", "first use"])
@pytest.mark.parametrize("name", ["p", "q", "n"])
def test_any_bit_flipped_in_the_stored_key_leaves_no_answer(
    primes: tuple[int, int], name: str, warm: bool
) -> None:
    for bit in range(BITS // 2):
        key = PrivateKey(*primes, test_only=True)
        evaluator = Evaluator(key)
        if warm:
            evaluator.evaluate(ELEMENT, FAULT_EXPONENT)
        object.__setattr__(key, name, getattr(key, name) ^ (1 << bit))
        assert_stopped(evaluator)


def test_any_bit_flipped_in_the_coefficient_leaves_no_answer(key: PrivateKey) -> None:
    for bit in range(BITS // 2):
        evaluator = Evaluator(key)
        evaluator._coefficient ^= 1 << bit
        assert_stopped(evaluator)


def strike(evaluator: Evaluator, name: str, bit: int) -> None:
    """Flip a bit of what is kept for FAULT_EXPONENT."""
    evaluator.evaluate(ELEMENT, FAULT_EXPONENT)
    entries = evaluator._exponents._entries
    kept = entries[FAULT_EXPONENT]
    entries[FAULT_EXPONENT] = replace(kept, **{name: getattr(kept, name) ^ (1 << bit)})


def test_any_bit_flipped_in_a_kept_root_exponent_leaves_no_answer(key: PrivateKey) -> None:
    for bit in range(BITS):
        evaluator = Evaluator(key)
        strike(evaluator, "root_exponent", bit)
        assert_stopped(evaluator)


@pytest.mark.parametrize("name", ["factor", "unblind"])
def test_a_fault_in_a_blinding_pair_is_a_wrong_answer_that_factors_nothing(
    key: PrivateKey, name: str
) -> None:
    element = int.from_bytes(ELEMENT, "big")
    honest = int.from_bytes(Evaluator(key).evaluate(ELEMENT, FAULT_EXPONENT), "big")
    for bit in range(BITS):
        evaluator = Evaluator(key)
        strike(evaluator, name, bit)
        answer = int.from_bytes(evaluator.evaluate(ELEMENT, FAULT_EXPONENT), "big")
        assert answer != honest
        assert math.gcd(answer - honest, key.n) == 1
        assert math.gcd(pow(answer, FAULT_EXPONENT, key.n) - element, key.n) == 1


def test_an_even_check_prime_leaves_no_answer(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_primitives, "random_prime", lambda bits: _primitives.integer(1 << bits))
    assert_stopped(evaluator)


def test_one_half_struck_without_the_checks_would_factor_n(
    key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the checks are for: the attack itself works on these very functions.
    base = _primitives.integer(int.from_bytes(ELEMENT, "big"))
    root_exponent = _primitives.inverse(FAULT_EXPONENT, (key.p - 1) * (key.q - 1))
    halves = [_primitives.secret_power(base, root_exponent % (prime - 1), prime) for prime in (key.p, key.q)]
    root = evaluation.recombined(halves[0] ^ 1, halves[1], key, _primitives.inverse(key.q, key.p))
    assert math.gcd(int(pow(root, FAULT_EXPONENT, key.n) - base), key.n) == key.q


def test_a_fault_stops_every_element_and_exponent(evaluator: Evaluator, key: PrivateKey) -> None:
    evaluator._coefficient ^= 1
    assert_stopped(evaluator)
    evaluator._coefficient ^= 1
    with pytest.raises(EvaluationFault):
        evaluator.evaluate(random_element(key.n), derive_exponent(key.n, b"another"))


# Self-test


def test_a_passed_self_test_serves_again(evaluator: Evaluator, key: PrivateKey, exponent: int) -> None:
    evaluator._coefficient ^= 1
    assert_stopped(evaluator)
    evaluator._coefficient ^= 1
    evaluator.self_test()
    assert is_root(evaluator.evaluate(ELEMENT, exponent), ELEMENT, exponent, key.n)


def test_a_self_test_drops_a_corrupted_root_exponent(evaluator: Evaluator, key: PrivateKey) -> None:
    strike(evaluator, "root_exponent", 5)
    assert_stopped(evaluator)
    evaluator.self_test()
    assert is_root(evaluator.evaluate(ELEMENT, FAULT_EXPONENT), ELEMENT, FAULT_EXPONENT, key.n)


@pytest.mark.parametrize("name", ["p", "q", "n"])
@pytest.mark.parametrize("bit", [0, 1, 100, 255])
def test_a_self_test_of_a_corrupted_key_fails_and_stops(key: PrivateKey, name: str, bit: int) -> None:
    evaluator = Evaluator(key)
    object.__setattr__(key, name, getattr(key, name) ^ (1 << bit))
    with pytest.raises(EvaluationFault) as caught:
        evaluator.self_test()
    assert caught.value.__context__ is None
    object.__setattr__(key, name, getattr(key, name) ^ (1 << bit))
    assert_stopped(evaluator)


def test_a_self_test_notices_a_wrong_answer(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    right = evaluation.Prepared.draw

    def wrong(key: PrivateKey, exponent: int) -> evaluation.Prepared:
        return replace(right(key, exponent), factor=_primitives.integer(2))

    monkeypatch.setattr(evaluation.Prepared, "draw", wrong)
    with pytest.raises(EvaluationFault):
        evaluator.self_test()
    assert_stopped(evaluator)


def test_a_self_test_refuses_primes_that_are_not_safe(primes: tuple[int, int]) -> None:
    unsafe = primes[0] - 12
    while not _primitives.is_prime(unsafe):
        unsafe -= 12
    evaluator = Evaluator(PrivateKey(unsafe, primes[1], test_only=True))
    with pytest.raises(EvaluationFault):
        evaluator.self_test()


# Blinding pairs


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exponents for which a pair was drawn, in order."""
    exponents: list[int] = []
    draw = evaluation.Prepared.draw

    def counted(key: PrivateKey, exponent: int) -> evaluation.Prepared:
        exponents.append(exponent)
        return draw(key, exponent)

    monkeypatch.setattr(evaluation.Prepared, "draw", counted)
    return exponents


def test_a_pair_is_redrawn_after_256_uses(
    evaluator: Evaluator, key: PrivateKey, exponent: int, drawn: list[int]
) -> None:
    assert PAIR_USES == 256
    for use in range(2 * PAIR_USES + 1):
        element = random_element(key.n)
        assert is_root(evaluator.evaluate(element, exponent), element, exponent, key.n)
        assert len(drawn) == 1 + use // PAIR_USES


def test_every_use_has_another_pair(evaluator: Evaluator, exponent: int) -> None:
    factors = set()
    for _ in range(PAIR_USES + 10):
        prepared = evaluator._prepared(exponent)
        factors.add((int(prepared.factor), int(prepared.unblind)))
    assert len(factors) == PAIR_USES + 10


def test_a_kept_pair_fits_its_exponent(evaluator: Evaluator, key: PrivateKey, exponent: int) -> None:
    for _ in range(5):
        prepared = evaluator._prepared(exponent)
        assert prepared.factor * pow(prepared.unblind, exponent, key.n) % key.n == 1
        assert prepared.factor != 1


def test_the_exponents_last_used_stay_and_others_go(key: PrivateKey, drawn: list[int]) -> None:
    evaluator = Evaluator(key, max_exponents=2)
    for exponent in (3, 5, 3, 7, 3, 5):
        assert is_root(evaluator.evaluate(ELEMENT, exponent), ELEMENT, exponent, key.n)
        assert len(evaluator._exponents) <= 2
    assert drawn == [3, 5, 7, 5]


def test_a_child_process_draws_its_own_pairs(
    evaluator: Evaluator, key: PrivateKey, exponent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator.evaluate(ELEMENT, exponent)
    theirs = evaluator._exponents
    next_pair = theirs._entries[exponent]
    theirs._lock.acquire()
    monkeypatch.setattr(os, "getpid", lambda: theirs.pid + 1)
    assert is_root(evaluator.evaluate(ELEMENT, exponent), ELEMENT, exponent, key.n)
    assert evaluator._exponents is not theirs
    assert theirs._entries[exponent] is next_pair


def test_a_forked_child_answers_from_another_pair(
    evaluator: Evaluator, key: PrivateKey, exponent: int
) -> None:
    evaluator.evaluate(ELEMENT, exponent)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write_end, int(evaluator._prepared(exponent).factor).to_bytes(BITS // 8, "big"))
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as reader:
        theirs = reader.read()
    os.waitpid(child, 0)
    ours = int(evaluator._prepared(exponent).factor)
    assert len(theirs) == BITS // 8
    assert int.from_bytes(theirs, "big") != ours


# Threads


def test_threads_on_one_evaluator_all_get_right_answers(key: PrivateKey) -> None:
    evaluator = Evaluator(key, max_exponents=3)
    exponents = [derive_exponent(key.n, bytes([number])) for number in range(5)]
    barrier = threading.Barrier(4)

    def hammer(worker: int) -> int:
        barrier.wait()
        right = 0
        for turn in range(300):
            element, exponent = random_element(key.n), exponents[(worker + turn) % 5]
            right += is_root(evaluator.evaluate(element, exponent), element, exponent, key.n)
        return right

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(hammer, range(4))) == [300] * 4


def test_no_pair_serves_two_threads(evaluator: Evaluator, exponent: int) -> None:
    def take(_: int) -> list[int]:
        return [int(evaluator._prepared(exponent).factor) for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        factors = [factor for taken in pool.map(take, range(4)) for factor in taken]
    assert len(set(factors)) == len(factors)


def test_evaluating_lets_go_of_the_interpreter_lock(evaluator: Evaluator, exponent: int) -> None:
    def settings() -> tuple[bool, bool]:
        before = gmpy2.get_context().allow_release_gil
        evaluator.evaluate(ELEMENT, exponent)
        return before, gmpy2.get_context().allow_release_gil

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(settings).result() == (False, True)
