"""The private operation while its own variables change: whatever leaves then gives away no factor of n."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, product
from operator import xor
from types import CodeType, FrameType
from typing import Any

import pytest

from blindfold import _primitives, evaluation
from blindfold.errors import EvaluationFault
from blindfold.evaluation import Evaluator, Half
from blindfold.keygen import generate_safe_prime
from blindfold.private_key import PrivateKey

BITS = 512
EXPONENT = 65537
ELEMENT = ((1 << 255) - 19).to_bytes(BITS // 8, "big")
CHECK_PRIMES = tuple(_primitives.integer((1 << 64) - less) for less in (59, 83))

# The numbers that each step of the operation works with.
STEPS: dict[CodeType, tuple[str, ...]] = {
    evaluation.crt_root.__code__: (
        *("coefficient", "base", "exponent", "root_exponent", "root", "key.p", "key.q", "key.n"),
        *(f"half_{half}.{of}" for half in "pq" for of in ("check_prime", "modulus", "exponent", "value")),
    ),
    Half.take.__func__.__code__: (  # type: ignore[attr-defined]
        *("prime", "check_prime", "base", "root_exponent", "modulus", "exponent"),
    ),
    Half.checks.__code__: ("prime", "base", "root_exponent", "root", "t", "value"),
    evaluation.recombined.__code__: ("half_p", "half_q", "coefficient", "root_q"),
}
VARIABLES = [(code, name) for code, names in STEPS.items() for name in names]


def becoming(other: int, _: int) -> int:
    return other


FAULTS: dict[str, Callable[[int], int]] = {
    **{f"bit {bit}": partial(xor, 1 << bit) for bit in (0, 1, 2, 17, 63, 64, 200)},
    **{f"becomes {small}": partial(becoming, small) for small in (-1, 0, 1, 2, 3, 6)},
    "halved": lambda value: value >> 1,
    "doubled": lambda value: value << 1,
    "one more": lambda value: value + 1,
    "negated": lambda value: -value,
    "its low word alone": lambda value: value & ((1 << 64) - 1),
    "its low word lost": lambda value: value >> 64 << 64,
}


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey(generate_safe_prime(BITS // 2), generate_safe_prime(BITS // 2), test_only=True)


class Change:
    """A variable takes another value just before a line, and keeps it; `undo` gives an attribute its own."""

    def __init__(self, code: CodeType, line: int, name: str, fault: Callable[[int], int]) -> None:
        self._code, self._line, self._fault = code, line, fault
        self._owner, _, self._name = name.rpartition(".")
        self._is_done = False
        self.undo: Callable[[], None] = lambda: None

    def at_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._at_line if frame.f_code is self._code else None

    def _at_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        variables = frame.f_locals
        is_here = event == "line" and frame.f_lineno == self._line
        if is_here and not self._is_done and (self._owner or self._name) in variables:
            self._is_done = True
            if self._owner:
                self._change(variables[self._owner])
            else:
                variables[self._name] = self._other(variables[self._name])
        return self._at_line

    def _change(self, owner: Any) -> None:
        value = getattr(owner, self._name)
        self.undo = partial(object.__setattr__, owner, self._name, value)
        object.__setattr__(owner, self._name, self._other(value))

    def _other(self, value: Any) -> Any:
        return type(value)(self._fault(int(value)))


@contextmanager
def changed(code: CodeType, line: int, name: str, fault: Callable[[int], int]) -> Iterator[None]:
    before, change = sys.gettrace(), Change(code, line, name, fault)
    sys.settrace(change.at_call)
    try:
        yield
    finally:
        sys.settrace(before)
        change.undo()


def lines(code: CodeType) -> list[int]:
    return sorted({line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno})


# What a half is computed modulo, instead of its prime times its check prime.
MODULI: dict[str, Callable[[PrivateKey, int], int]] = {
    "the other half's modulus": lambda key, at: int((key.q, key.p)[at] * CHECK_PRIMES[1 - at]),
    "its check prime": lambda key, at: int(CHECK_PRIMES[at]),
    "the other check prime": lambda key, at: int(CHECK_PRIMES[1 - at]),
    "its prime": lambda key, at: int((key.p, key.q)[at]),
    "n": lambda key, at: key.n,
}


def struck(
    monkeypatch: pytest.MonkeyPatch, at: int, strike: Callable[[Callable[..., Any], tuple[Any, ...]], Any]
) -> None:
    """The power numbered `at`, of those that an evaluation takes, is taken by `strike`."""
    real, numbers = _primitives.secret_power, count()
    primes = iter(CHECK_PRIMES)

    def power(*arguments: Any) -> Any:
        return strike(real, arguments) if next(numbers) == at else real(*arguments)

    monkeypatch.setattr(_primitives, "random_prime", lambda bits: next(primes))
    monkeypatch.setattr(_primitives, "secret_power", power)


@pytest.mark.parametrize("at", [0, 1], ids=["p", "q"])
@pytest.mark.parametrize("modulus", MODULI.values(), ids=MODULI.keys())
def test_half_computed_modulo_another_number_leaves_no_answer(
    key: PrivateKey,
    modulus: Callable[[PrivateKey, int], int],
    at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluator = Evaluator(key)
    evaluator.evaluate(ELEMENT, EXPONENT)
    struck(monkeypatch, at, lambda power, given: power(given[0], given[1], modulus(key, at)))
    with pytest.raises(EvaluationFault):
        evaluator.evaluate(ELEMENT, EXPONENT)


@pytest.mark.parametrize("at", [0, 1], ids=["p", "q"])
def test_half_that_became_zero_leaves_no_answer_for_an_element_that_the_check_prime_divides(
    key: PrivateKey, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = Evaluator(key)
    evaluator.evaluate(ELEMENT, EXPONENT)
    element = int(CHECK_PRIMES[0] * CHECK_PRIMES[1]).to_bytes(BITS // 8, "big")
    struck(monkeypatch, at, lambda power, given: _primitives.integer(0))
    with pytest.raises(EvaluationFault):
        evaluator.evaluate(element, EXPONENT)


def gives_away_a_factor(answer: int, element: int, root: int, n: int) -> bool:
    """Whether an attacker who knows element and root has a factor by one gcd."""
    power = pow(answer, EXPONENT, n)
    differences = (answer, answer - root, answer + root, power - element, power + element)
    return any(1 < math.gcd(difference, n) < n for difference in differences)


@pytest.mark.parametrize(("code", "name"), VARIABLES, ids=lambda value: getattr(value, "co_name", value))
def test_a_variable_that_changes_at_any_line_factors_nothing(
    key: PrivateKey, code: CodeType, name: str
) -> None:
    root = int(_primitives.random_unit(key.n))
    element = pow(root, EXPONENT, key.n)
    evaluator = Evaluator(key)
    answers = 0
    for (fault, act), line in product(FAULTS.items(), lines(code)):
        evaluator._stopped = False
        evaluator._prepared(EXPONENT)
        with changed(code, line, name, act):
            try:
                answer = int.from_bytes(
                    evaluator.evaluate(element.to_bytes(BITS // 8, "big"), EXPONENT), "big"
                )
            except EvaluationFault:
                continue
        answers += answer == root
        assert not gives_away_a_factor(answer, element, root, key.n), (fault, line)
    assert answers < len(FAULTS) * len(lines(code)), "the variable is never used"
