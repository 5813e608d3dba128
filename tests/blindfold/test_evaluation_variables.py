"""The private operation while its own variables change: whatever leaves then gives away no factor of n."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import xor
from types import FrameType
from typing import Any

import pytest

from blindfold import _primitives, evaluation
from blindfold.errors import EvaluationFault
from blindfold.evaluation import Evaluator
from blindfold.keygen import generate_safe_prime
from blindfold.private_key import PrivateKey

BITS = 512
EXPONENT = 65537
CODE = evaluation.crt_root.__code__
LINES = sorted({line for _, _, line in CODE.co_lines() if line is not None and line > CODE.co_firstlineno})
VARIABLES = [name for name in CODE.co_varnames if name not in ("key", "held")]


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


@contextmanager
def changed(name: str, line: int, fault: Callable[[int], int]) -> Iterator[None]:
    """A variable of `crt_root` takes another value just before a line, and keeps it."""

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_lineno == line and name in frame.f_locals:
            frame.f_locals[name] = _primitives.integer(fault(int(frame.f_locals[name])))
        return at_line

    def at_call(frame: FrameType, _: str, __: Any) -> Any:
        return at_line if frame.f_code is CODE else None

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        yield
    finally:
        sys.settrace(before)


def gives_away_a_factor(answer: int, element: int, root: int, n: int) -> bool:
    """Whether an attacker who knows element and root has a factor by one gcd."""
    power = pow(answer, EXPONENT, n)
    differences = (answer, answer - root, answer + root, power - element, power + element)
    return any(1 < math.gcd(difference, n) < n for difference in differences)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_changes_at_any_line_factors_nothing(
    key: PrivateKey, name: str, fault: Callable[[int], int]
) -> None:
    root = int(_primitives.random_unit(key.n))
    element = pow(root, EXPONENT, key.n)
    evaluator = Evaluator(key)
    for line in LINES:
        evaluator._stopped = False
        with changed(name, line, fault):
            try:
                answer = int.from_bytes(
                    evaluator.evaluate(element.to_bytes(BITS // 8, "big"), EXPONENT), "big"
                )
            except EvaluationFault:
                continue
        assert not gives_away_a_factor(answer, element, root, key.n), line
