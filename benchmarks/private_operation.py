"""The private operation with its checks and blinding, beside a bare one by the Chinese remainder theorem."""

import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.figure import Figure, at_least, shown
from blindfold import _primitives, derive_exponent
from blindfold.evaluation import Evaluator
from blindfold.keygen import generate
from blindfold.private_key import PrivateKey

CHECKED_SHARE = 0.82
THREADS_SPEEDUP = 1.8
ROUND = 100


def measure(rounds: int = 9) -> list[Figure]:
    """Rates with a 3072-bit key, in evaluations a second. Takes some 20 seconds."""
    key = generate()
    evaluator = Evaluator(key)
    exponent = derive_exponent(key.n, b"benchmark")
    elements = [int(_primitives.random_unit(key.n)).to_bytes(384, "big") for _ in range(ROUND)]
    bare = bare_operation(key, exponent)

    def checked(element: bytes) -> bytes:
        return evaluator.evaluate(element, exponent)

    if bare(elements[0]) != checked(elements[0]):
        raise AssertionError("the two operations differ")
    # In turns, and the best of each: what else the machine does can only slow a round down.
    turns = [(rate(bare, elements), rate(checked, elements)) for _ in range(rounds)]
    bare_rate, checked_rate = (max(rates) for rates in zip(*turns, strict=True))
    pairs = [(rate(checked, elements), rate_of_two(checked, elements)) for _ in range(rounds)]
    one, two = (max(rates) for rates in zip(*pairs, strict=True))
    cold = rate(lambda element: evaluator.evaluate(element, derive_exponent(key.n, element)), elements)
    return [
        at_least("checked private operations", checked_rate, bare_rate, "1/s", CHECKED_SHARE),
        at_least("checked private operations, two threads", two, one, "1/s", THREADS_SPEEDUP),
        shown("checked private operations, each under a new exponent", cold, "1/s", bare_rate),
    ]


def bare_operation(key: PrivateKey, exponent: int) -> Callable[[bytes], bytes]:
    """Two half exponentiations and the recombination, with neither checks nor blinding."""
    p, q = key.p, key.q
    root_exponent = _primitives.inverse(exponent, (p - 1) * (q - 1))
    exponent_p, exponent_q = root_exponent % (p - 1), root_exponent % (q - 1)
    coefficient = _primitives.inverse(q, p)

    def operation(element: bytes) -> bytes:
        base = _primitives.integer(int.from_bytes(element, "big"))
        half_p = _primitives.secret_power(base, exponent_p, p)
        half_q = _primitives.secret_power(base, exponent_q, q)
        return int(half_q + q * ((half_p - half_q) * coefficient % p)).to_bytes(384, "big")

    return operation


def rate(operation: Callable[[bytes], bytes], elements: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for element in elements:
        operation(element)
    return len(elements) / (time.perf_counter() - start)


def rate_of_two(operation: Callable[[bytes], bytes], elements: Sequence[bytes]) -> float:
    """The rate of two threads together, each with all the elements."""
    threads = [threading.Thread(target=rate, args=(operation, elements)) for _ in range(2)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * len(elements) / (time.perf_counter() - start)
