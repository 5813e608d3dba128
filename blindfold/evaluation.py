"""The server's private operation, checked on every run (docs/spec/blindfold.md, "The private operation").

A root computed by the Chinese remainder theorem with one half wrong lets anyone who knows the element factor
n. So nothing leaves before all of these hold, over the very values that were used:

1. p*q == n, and the modulus of each half is its prime times a fresh random prime of its own;
2. e'*d' == 1 modulo (p-1)(q-1), and the exponent of each half is d' modulo p-1, and q-1;
3. each half is modulo its fresh prime what a small power gives (Shamir's trick), and not below that prime;
4. the recombined root equals each half modulo its prime.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from blindfold import _primitives
from blindfold._frames import clearing
from blindfold._primitives import Integer
from blindfold.errors import EvaluationFault, InputInvalid, KeyUnacceptable
from blindfold.modulus import element_size, parse_element
from blindfold.private_key import PrivateKey

CHECK_PRIME_BITS = 64
PAIR_USES = 256
MAX_EXPONENTS = 1024


class Evaluator:
    """Takes roots under one tenant key. Safe for calls from several threads, and after a fork.

    Threads run beside each other: GMP lets go of the interpreter lock in every thread that evaluates.
    """

    @clearing
    def __init__(self, key: PrivateKey, max_exponents: int = MAX_EXPONENTS) -> None:
        """`max_exponents` bounds how many exponents keep their root exponent and blinding pair at hand."""
        self._key = key
        # By Fermat's theorem, since an inversion would have a secret modulus.
        self._coefficient = _primitives.secret_power(key.q, key.p - 2, key.p)
        self._max_exponents = max_exponents
        self._exponents = PreparedExponents(key.n, max_exponents)
        self._stopped = False

    @clearing
    def evaluate(self, element: bytes, exponent: int) -> bytes:
        """The root of an element: y with y^exponent == element mod n. Both are k bytes.

        `exponent` is e' as `derive_exponent` gives it. Raises `ElementOutOfRange` for an element of another
        length, outside [2, n-2] or not coprime to n; `InputInvalid` for an exponent that cannot be an e';
        `EvaluationFault` when a check failed, and from then on until `self_test` passes.
        """
        base = _primitives.integer(parse_element(element, self._key.n, "the blinded element"))
        self._check_exponent(exponent)
        if self._stopped:
            raise EvaluationFault
        return self._evaluate(base, exponent)

    @clearing
    def self_test(self) -> None:
        """Test the key and one whole operation, then serve again. Takes some tens of milliseconds.

        Raises `EvaluationFault`, and the evaluator stops or stays stopped.
        """
        key = self._key
        self._exponents = PreparedExponents(key.n, self._max_exponents)
        try:
            key.check_primes()
            element = _primitives.random_unit(key.n)
            exponent = self._random_exponent()
            root = int.from_bytes(self._evaluate(element, exponent), "big")
            passed = _primitives.secret_power(root, exponent, key.n) == element
        except (EvaluationFault, KeyUnacceptable, ArithmeticError, ValueError):
            passed = False
        self._stopped = not passed
        if not passed:
            raise EvaluationFault

    def _random_exponent(self) -> int:
        size = element_size(self._key.n) // 2
        return int.from_bytes(_primitives.random_bytes(size), "big") >> 2 | 1 << (8 * size - 3) | 1

    def _check_exponent(self, exponent: int) -> None:
        # Odd and below both p' and q', so its inverse modulo (p-1)(q-1) exists.
        if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > self._key.n.bit_length() // 2 - 2:
            raise InputInvalid("the exponent is not odd, or not between 3 and the size of a derived one")

    def _evaluate(self, element: Integer, exponent: int) -> bytes:
        _primitives.release_gil_in_this_thread()
        key = self._key
        try:
            prepared = self._prepared(exponent)
            # Unreduced: `%` would take a time that depends on the product, `secret_power` reduces silently.
            blinded = element * prepared.factor
            check_primes = (
                _primitives.random_prime(CHECK_PRIME_BITS),
                _primitives.random_prime(CHECK_PRIME_BITS),
            )
            root = crt_root(key, self._coefficient, blinded, exponent, prepared.root_exponent, check_primes)
            answer = int(root * prepared.unblind % key.n).to_bytes(element_size(key.n), "big")
        except (EvaluationFault, ArithmeticError, ValueError):
            answer = None
        if answer is None:
            self._stopped = True
            raise EvaluationFault
        return answer

    def _prepared(self, exponent: int) -> "Prepared":
        exponents = self._exponents
        if exponents.pid != os.getpid():
            # Two threads may both get here after a fork: each goes on with pairs of its own, the last stay.
            exponents = self._exponents = PreparedExponents(self._key.n, self._max_exponents)
        return exponents.take(exponent, lambda: Prepared.draw(self._key, exponent))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Prepared:
    """What one exponent needs: d' and a blinding pair (v^e' mod n, v^-1 mod n), good for some more uses.

    The pair needs no check. It is made and used modulo n alone, never modulo p or q, so a fault in it, in the
    blinded product or in the last multiplication makes the answer wrong by a factor that is not 1 modulo
    just one of the primes: nothing of it factors n, and the caller sees that y^e' is not the element. At
    worst he learns v, which protects the timing of the remaining uses of this pair and nothing else.
    """

    root_exponent: Integer
    factor: Integer
    unblind: Integer
    uses: int = PAIR_USES

    @classmethod
    def draw(cls, key: PrivateKey, exponent: int) -> Self:
        """A fresh pair. Costs about one and a half evaluations: no prime may shorten its power, see above."""
        v = _primitives.random_unit(key.n)
        return cls(
            root_exponent=inverse_of_exponent(exponent, (key.p - 1) * (key.q - 1)),
            factor=_primitives.secret_power(v, exponent, key.n),
            unblind=_primitives.secret_inverse(v, key.n),
        )

    def squared(self, n: int) -> Self:
        """The pair for the next use."""
        return replace(
            self,
            factor=self.factor * self.factor % n,
            unblind=self.unblind * self.unblind % n,
            uses=self.uses - 1,
        )


class PreparedExponents:
    """What the exponents last used need, in one process only: a forked child must not share a pair."""

    def __init__(self, n: int, limit: int) -> None:
        self.pid = os.getpid()
        self._n = n
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, Prepared] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, exponent: int, draw: Callable[[], Prepared]) -> Prepared:
        """A pair that no other call gets, from the last one squared, else from `draw`."""
        with self._lock:
            prepared = self._entries.pop(exponent, None)
            if prepared is not None:
                self._keep(exponent, prepared)
        if prepared is None:
            # Outside the lock, since it takes milliseconds; of two threads that draw, the last one's stays.
            prepared = draw()
            with self._lock:
                self._keep(exponent, prepared)
        return prepared

    def _keep(self, exponent: int, prepared: Prepared) -> None:
        if prepared.uses > 1:
            self._entries[exponent] = prepared.squared(self._n)
            self._entries.move_to_end(exponent)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)


def inverse_of_exponent(exponent: int, order: Integer) -> Integer:
    """d' = 1/e' modulo the secret order, by an inversion modulo the public e' alone.

    e' divides 1 + u * order for u = -1/order mod e'. Raises `ZeroDivisionError` where there is no inverse.
    """
    return (1 + (exponent - _primitives.secret_inverse(order, exponent)) * order) // exponent


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Half:
    """A root modulo one of the primes, and what it was computed with: value = base^exponent mod modulus.

    The modulus is the prime times `check_prime`, a fresh one that no other half has.
    """

    check_prime: Integer
    modulus: Integer
    exponent: Integer
    value: Integer

    @classmethod
    def take(cls, prime: Integer, check_prime: Integer, base: Integer, root_exponent: Integer) -> Self:
        modulus, exponent = prime * check_prime, reduced(root_exponent, prime - 1)
        return cls(check_prime, modulus, exponent, _primitives.secret_power(base, exponent, modulus))

    def checks(
        self, prime: Integer, base: Integer, root_exponent: Integer, root: Integer
    ) -> tuple[bool, ...]:
        """Conditions 3 to 7 of the specification. A value below t was computed modulo t, or has become 0."""
        t, value = self.check_prime, self.value
        return (
            self.modulus == prime * t,
            (root_exponent - self.exponent) % (prime - 1) == 0,
            value >= t,
            value % t == _primitives.secret_power(base, self.exponent % (t - 1), t),
            (root - value) % prime == 0,
        )


def crt_root(
    key: PrivateKey,
    coefficient: Integer,
    base: Integer,
    exponent: int,
    root_exponent: Integer,
    check_primes: tuple[Integer, Integer],
) -> Integer:
    """base^root_exponent mod n, checked. `coefficient` is q^-1 mod p; base need not be reduced.

    `check_primes` are fresh. Raises `EvaluationFault`, or an arithmetic error of a corrupted operand.
    """
    half_p = Half.take(key.p, check_primes[0], base, root_exponent)
    half_q = Half.take(key.q, check_primes[1], base, root_exponent)
    root = recombined(half_p.value, half_q.value, key, coefficient)
    # Last, and over the same variables: what was corrupted at any time before and stayed so is seen here.
    # p-1 and q-1 are computed anew: what became another divisor of e'*d'-1, such as half of p-1, would pass.
    held = (
        key.p * key.q == key.n,
        exponent * root_exponent % ((key.p - 1) * (key.q - 1)) == 1,
        *half_p.checks(key.p, base, root_exponent, root),
        *half_q.checks(key.q, base, root_exponent, root),
    )
    if not all(held):
        raise EvaluationFault
    return root


def reduced(root_exponent: Integer, prime_less_1: Integer) -> Integer:
    """The exponent of one half."""
    return root_exponent % prime_less_1


def recombined(half_p: Integer, half_q: Integer, key: PrivateKey, coefficient: Integer) -> Integer:
    """The root modulo n of two halves (Garner; RFC 8017, section 5.1.2)."""
    root_q = half_q % key.q
    return root_q + key.q * ((half_p - root_q) * coefficient % key.p)
