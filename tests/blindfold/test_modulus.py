"""What a client checks of a modulus, and of a group element."""

import math

import pytest
from honest_kms import HonestKms

from blindfold import begin_open, derive_exponent, seal
from blindfold.errors import BlindfoldError, ElementOutOfRange, InputInvalid, KeyUnacceptable
from blindfold.exponent import policy_binding_value
from blindfold.modulus import check_modulus, element_size, parse_element
from testvectors import material

TINY, SMALL, FULL = HonestKms().key.n, material.key().n, material.key("full").n


def modulus_like(bits: int, *, divisor: int = 1, residue: int = 1) -> int:
    """A number of that size and residue modulo 12, a multiple of divisor; nobody need know its factors."""
    value = 3 << (bits - 2)
    value += -value % divisor
    while value % 12 != residue or (divisor == 1 and math.gcd(value, PRIMORIAL) != 1):
        value += divisor
    return value


PRIMORIAL = math.prod(p for p in range(2, 1 << 10) if all(p % d for d in range(2, math.isqrt(p) + 1)))


def test_keys_of_3072_bits_pass() -> None:
    assert check_modulus(FULL) == FULL


@pytest.mark.parametrize("n", [TINY, SMALL])
def test_small_keys_pass_through_the_test_door_alone(n: int) -> None:
    assert check_modulus(n, test_only=True) == n
    with pytest.raises(KeyUnacceptable, match="bits"):
        check_modulus(n)


@pytest.mark.parametrize("bits", [256, 496, 504, 520, 3071, 3073, 4097, 4112, 8192])
def test_sizes_outside_the_specification_are_refused_even_in_tests(bits: int) -> None:
    for test_only in (False, True):
        with pytest.raises(KeyUnacceptable, match=f"{bits} bits"):
            check_modulus(modulus_like(bits), test_only=test_only)


@pytest.mark.parametrize("n", [0, 1, 12 * 7 + 1])
def test_numbers_that_are_no_modulus_are_refused(n: int) -> None:
    with pytest.raises(KeyUnacceptable):
        check_modulus(n, test_only=True)


@pytest.mark.parametrize("residue", [3, 5, 7, 9, 11])
def test_modulus_not_1_modulo_12_is_refused(residue: int) -> None:
    with pytest.raises(KeyUnacceptable, match="modulo 12"):
        check_modulus(modulus_like(3072, divisor=65_537, residue=residue))


@pytest.mark.parametrize("prime", [5, 7, 11, 251, 257, 32_749, 65_519, 65_521])
def test_modulus_with_a_prime_factor_below_65536_is_refused(prime: int) -> None:
    with pytest.raises(KeyUnacceptable, match="below 65536"):
        check_modulus(modulus_like(3072, divisor=prime))


def test_sealing_and_opening_check_the_modulus() -> None:
    key, policy = HonestKms().key, material.policy()
    with pytest.raises(KeyUnacceptable):
        seal(b"", key, policy)
    sealed = seal(b"", key, policy, test_only=True)
    with pytest.raises(KeyUnacceptable):
        begin_open(sealed, key)


# Elements.


@pytest.mark.parametrize("n", [TINY, SMALL, FULL])
def test_elements_from_2_to_n_minus_2_are_read(n: int) -> None:
    size = element_size(n)
    for value in (2, 3, n // 2, n - 2):
        assert parse_element(value.to_bytes(size, "big"), n, "element") == value


def elements_out_of_range(kms: HonestKms) -> dict[str, bytes]:
    n, size = kms.key.n, kms.key.element_size
    values = {"0": 0, "1": 1, "n - 1": n - 1, "n": n, "n + 1": n + 1, "p": kms.p, "2q": 2 * kms.q}
    forms = {name: value.to_bytes(size, "big") for name, value in values.items()}
    two = forms["0"][:-1] + b"\x02"
    return forms | {"nothing": b"", "short": two[1:], "long": b"\x00" + two, "all ones": b"\xff" * size}


OUT_OF_RANGE = elements_out_of_range(HonestKms())


@pytest.mark.parametrize("element", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
def test_other_elements_are_refused(element: bytes) -> None:
    with pytest.raises(ElementOutOfRange):
        parse_element(element, TINY, "element")


@pytest.mark.parametrize("name", [name for name, data in OUT_OF_RANGE.items() if len(data) == 64])
def test_client_refuses_such_an_element_before_it_blinds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = HonestKms().key
    sealed = seal(b"s", key, material.policy(), test_only=True)
    element = begin_open(sealed, key, test_only=True)[1].header.lock.element

    def refuse(_: object) -> int:
        raise AssertionError("blinded")

    monkeypatch.setattr("blindfold._primitives.random_unit", refuse)
    with pytest.raises(ElementOutOfRange):
        begin_open(sealed.replace(element, OUT_OF_RANGE[name]), key, test_only=True)


# Exponents.


@pytest.mark.parametrize("n", [TINY, SMALL, FULL])
def test_exponent_is_odd_and_half_as_long_as_the_modulus_with_its_two_top_bits_clear(n: int) -> None:
    for number in range(50):
        exponent = derive_exponent(n, b"info %d" % number)
        assert exponent % 2 == 1
        assert 3 <= exponent < 1 << (n.bit_length() // 2 - 2)


def test_exponent_depends_on_every_byte_of_info_and_on_the_modulus() -> None:
    infos = [b"", b"\x00", b"a", b"a\x00", b"b"]
    assert len({derive_exponent(n, info) for n in (TINY, SMALL) for info in infos}) == 10


@pytest.mark.parametrize("modulus", [0, -1, -(1 << 511), 1 << 512, (1 << 519) + 1])
def test_exponent_of_a_modulus_of_odd_size_is_refused(modulus: int) -> None:
    with pytest.raises(InputInvalid):
        derive_exponent(modulus, b"info")


@pytest.mark.parametrize("size", [0, 15, 17])
def test_policy_uid_has_16_bytes(size: int) -> None:
    with pytest.raises(InputInvalid):
        policy_binding_value("tenants/a/namespaces/b/secretPolicies/c", bytes(size))


def test_every_error_says_what_a_person_can_do_next() -> None:
    families = [BlindfoldError]
    for family in families:
        families += family.__subclasses__()
    silent = {error.__name__ for error in families if not error.hint}
    assert silent == {"BlindfoldError", "InputInvalid"}
