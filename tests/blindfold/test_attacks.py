"""The attacks that the specification names. Each must work where it should (the control) and fail here."""

import inspect
import io
import math
from dataclasses import replace
from typing import Any

import pytest
from honest_kms import HonestKms, element_of, header_of

import blindfold
from blindfold import Binding, PolicyDocument, begin_open, finish_open, seal, seal_stream, sealing
from blindfold.documents import document_exponent
from blindfold.envelope import Header, Metadata
from blindfold.errors import BlindfoldError, DocumentMismatch, OpenFailed, StateConsumed, WrongAnswer
from blindfold.sealing import _seal_with
from testvectors import material

KMS = HonestKms()
POLICY = material.policy()
SECRET = b"the payload of the attacked file"


def sealed_file(**changes: Any) -> bytes:
    return seal(SECRET, changes.pop("key", KMS.key), changes.pop("policy", POLICY), test_only=True, **changes)


# The composite-factor attack.

PUBLIC_EXPONENT = 65_537
COVER = {61: 153, 149: 228, 349: 126, 677: 147}


def small_composite_factor(policy_id: int) -> int:
    """How the deployed scheme made a policy number into a part of the exponent."""
    return 2 * policy_id + (1 << 31) + 1


class SmallFactorKms:
    """Raw RSA under E = e * factor(policy): the scheme that the attack is for."""

    def __init__(self, allowed: set[int]) -> None:
        self.allowed = allowed

    def root(self, value: int, policy_id: int) -> int:
        assert policy_id in self.allowed
        return KMS.root(value, PUBLIC_EXPONENT * small_composite_factor(policy_id))


def test_composite_factor_attack_opens_policy_824_of_the_scheme_with_small_factors() -> None:
    n = KMS.key.n
    assert small_composite_factor(824) == math.prod(COVER)
    x = 0x1234567890ABCDEF1234567890ABCDEF
    taken = pow(x, PUBLIC_EXPONENT * small_composite_factor(824), n)
    oracle = SmallFactorKms(allowed=set(COVER.values()))
    for prime, policy_id in COVER.items():
        factor = small_composite_factor(policy_id)
        assert factor % prime == 0
        # (taken^(1/(e*factor)))^(e*factor/prime) = taken^(1/prime); the last step takes e along.
        keep = 1 if prime == 677 else PUBLIC_EXPONENT
        taken = pow(oracle.root(taken, policy_id), keep * factor // prime, n)
    assert taken == x


def uncovered_part(target: int, others: list[int]) -> int:
    """What is left of an exponent when all that roots for the others can take has been taken."""
    rest = target
    for other in others:
        while (common := math.gcd(rest, other)) > 1:
            rest //= common
    return rest


def test_composite_factor_attack_finds_no_cover_among_derived_exponents() -> None:
    policies = [material.policy(revision=number, name=f"p{number}") for number in range(1, 201)]
    exponents = [document_exponent(KMS.key, policy) for policy in policies]
    factors = [small_composite_factor(number) for number in (824, *COVER.values())]
    assert uncovered_part(factors[0], factors[1:]) == 1
    for index, exponent in enumerate(exponents):
        rest = uncovered_part(exponent, exponents[:index] + exponents[index + 1 :])
        assert rest.bit_length() > 128


def test_composite_factor_walk_over_other_policies_ends_in_a_wrong_answer() -> None:
    others = [material.policy(revision=number) for number in range(2, 60)]
    target = document_exponent(KMS.key, POLICY)
    request, state = begin_open(sealed_file(), KMS.key, test_only=True)
    taken, rest = int.from_bytes(request.element, "big"), target
    for other in others:
        exponent = document_exponent(KMS.key, other)
        while (common := math.gcd(rest, exponent)) > 1:
            taken = pow(KMS.root(taken, exponent), exponent // common, KMS.key.n)
            rest //= common
    assert 1 < rest < target, "the walk takes what small primes it can, and no more"
    with pytest.raises(WrongAnswer):
        finish_open(state, taken.to_bytes(KMS.key.element_size, "big"))


@pytest.mark.parametrize(
    "other",
    [
        material.policy(revision=2),
        material.policy(name="other"),
        material.policy(binding=Binding.POLICY),
        material.policy(tenant="acme2"),
    ],
    ids=["revision", "name", "binding", "tenant"],
)
def test_answer_under_another_exponent_never_opens(other: PolicyDocument) -> None:
    request, state = begin_open(sealed_file(), KMS.key, test_only=True)
    exponent = document_exponent(replace(KMS.key, tenant=other.tenant), other)
    with pytest.raises(WrongAnswer):
        finish_open(state, KMS.root_bytes(request.element, exponent))


# One x under two exponents.


def bezout(a: int, b: int) -> tuple[int, int, int]:
    """(g, s, t) with s*a + t*b == g."""
    s, next_s, remainder, next_remainder = 1, 0, a, b
    while next_remainder:
        quotient = remainder // next_remainder
        remainder, next_remainder = next_remainder, remainder - quotient * next_remainder
        s, next_s = next_s, s - quotient * next_s
    return remainder, s, (remainder - s * a) // b


def test_one_x_under_two_exponents_is_public_by_bezout() -> None:
    n, x = KMS.key.n, 0xFEEDFACE
    exponents = (e for e in (document_exponent(KMS.key, material.policy(revision=r)) for r in range(2, 99)))
    first = document_exponent(KMS.key, POLICY)
    second = next(e for e in exponents if math.gcd(e, first) == 1)
    _, s, t = bezout(first, second)
    assert pow(pow(x, first, n), s, n) * pow(pow(x, second, n), t, n) % n == x


def test_two_seals_of_the_same_input_share_neither_x_nor_element() -> None:
    files = [sealed_file(name="same") for _ in range(16)]
    assert len({KMS.x_of(file, POLICY) for file in files}) == len(files)
    assert len({element_of(file) for file in files}) == len(files)


def test_no_public_function_of_sealing_and_opening_takes_x_a_seed_or_a_blind() -> None:
    public = [getattr(blindfold, name) for name in ("seal", "seal_stream", "begin_open", "finish_open")]
    public += [
        value
        for module in (blindfold.sealing, blindfold.opening)
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    assert sealing.seal in public
    for function in public:
        names = inspect.signature(function).parameters.keys()
        assert not names & {"seed", "blind", "r", "random"}, function.__name__


# Documents other than those of the seal.


def reopened_as(sealed: bytes, **changes: Any) -> bytes:
    """The file with fields of its lock replaced, the rest of its bytes kept."""
    header = header_of(sealed)
    return replace(header, lock=replace(header.lock, **changes)).to_bytes() + sealed[len(header.to_bytes()) :]


def test_policy_document_changed_by_one_character_does_not_open() -> None:
    changed = replace(POLICY, description=POLICY.description + "!")
    with pytest.raises(OpenFailed):
        KMS.open(reopened_as(sealed_file(), binding_value=changed.digest))


def test_binding_changed_to_the_policy_of_the_same_name_does_not_open() -> None:
    named = replace(POLICY, binding=Binding.POLICY)
    sealed = reopened_as(sealed_file(), binding=named.binding, binding_value=named.binding_value)
    with pytest.raises(OpenFailed):
        KMS.open(sealed)


@pytest.mark.parametrize("changes", [{"tenant": "acme2"}, {"version": 2}], ids=["tenant", "version"])
def test_tenant_or_key_version_changed_does_not_open(changes: dict[str, Any]) -> None:
    sealed, other = sealed_file(), replace(KMS, **changes)
    with pytest.raises(DocumentMismatch):
        KMS.open(sealed, key=other.key)
    lock = {"tenant": other.tenant, "key_version": other.version, "fingerprint": other.key.fingerprint}
    with pytest.raises(OpenFailed):
        other.open(reopened_as(sealed, **lock))


def test_key_of_another_modulus_does_not_open() -> None:
    other = HonestKms(*material.primes("small"))
    with pytest.raises(DocumentMismatch):
        KMS.open(sealed_file(), key=other.key)


SWAPPED = {
    "another namespace": replace(POLICY, namespace="dev"),
    "another policy": replace(POLICY, name="web"),
}


@pytest.mark.parametrize("policy", SWAPPED.values(), ids=SWAPPED)
def test_signed_policy_of_another_author_is_not_sealed_to_in_place_of_the_one_meant(
    policy: PolicyDocument,
) -> None:
    sink = io.BytesIO()
    with pytest.raises(DocumentMismatch, match=policy.resource_name):
        seal_stream(
            io.BytesIO(b"prod"), sink, KMS.key, policy, expect_policy=POLICY.resource_name, test_only=True
        )
    with pytest.raises(DocumentMismatch, match=POLICY.resource_name):
        seal(b"prod", KMS.key, policy, expect_policy=POLICY.resource_name, test_only=True)
    assert sink.getvalue() == b""


@pytest.mark.parametrize("expected", ["", "web-tls", "prod/web-tls", POLICY.resource_name + "/"])
def test_only_the_whole_name_is_the_name_of_a_policy(expected: str) -> None:
    with pytest.raises(DocumentMismatch):
        seal(b"prod", KMS.key, POLICY, expect_policy=expected, test_only=True)


def test_policy_that_is_the_one_meant_is_sealed_to() -> None:
    sealed = seal(b"prod", KMS.key, POLICY, expect_policy=POLICY.resource_name, test_only=True)
    assert KMS.open(sealed) == b"prod"


def test_key_and_policy_of_two_tenants_do_not_seal() -> None:
    with pytest.raises(DocumentMismatch):
        sealed_file(policy=material.policy(tenant="acme2"))


# A generator that repeats itself.


@pytest.fixture
def _repeating_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindfold._primitives.random_bytes", bytes)


@pytest.mark.usefixtures("_repeating_generator")
def test_repeating_generator_still_gives_another_x_for_another_header_or_first_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_768_478_400)
    other_policy = material.policy(revision=2)
    assert sealed_file() == sealed_file(), "the control: the generator does repeat"
    xs = [
        KMS.x_of(sealed_file(), POLICY),
        KMS.x_of(sealed_file(name="other"), POLICY),
        KMS.x_of(sealed_file(content_type="text/plain"), POLICY),
        KMS.x_of(sealed_file(pad=True), POLICY),
        KMS.x_of(sealed_file(policy=other_policy), other_policy),
        KMS.x_of(seal(SECRET + b"!", KMS.key, POLICY, test_only=True), POLICY),
    ]
    monkeypatch.setattr("time.time", lambda: 1_768_478_401)
    xs.append(KMS.x_of(sealed_file(), POLICY))
    assert len(set(xs)) == len(xs)


# One state, one answer.


def test_state_is_consumed_by_its_first_finish_open() -> None:
    request, state = begin_open(sealed_file(), KMS.key, test_only=True)
    answer = KMS.answer(request)
    assert finish_open(state, answer).reveal() == SECRET
    with pytest.raises(StateConsumed):
        finish_open(state, answer)


@pytest.mark.parametrize("change", ["answer", "mac", "payload"])
def test_state_is_consumed_by_a_finish_open_that_failed(change: str) -> None:
    sealed = bytearray(sealed_file())
    size = len(header_of(bytes(sealed)).to_bytes())
    sealed[{"answer": 0, "mac": size, "payload": -1}[change]] ^= change != "answer"
    request, state = begin_open(bytes(sealed), KMS.key, test_only=True)
    answer = KMS.answer(request)
    wrong = answer if change != "answer" else answer[:-1] + bytes([answer[-1] ^ 1])
    with pytest.raises(BlindfoldError) as caught:
        finish_open(state, wrong)
    assert type(caught.value) is (WrongAnswer if change == "answer" else OpenFailed)
    with pytest.raises(StateConsumed):
        finish_open(state, answer)


def wrong_answers(answer: bytes, n: int) -> dict[str, bytes]:
    y, size = int.from_bytes(answer, "big"), len(answer)
    values = {"0": 0, "1": 1, "n - 1": n - 1, "n - y": n - y, "y + 1": y + 1, "n": n, "2y": 2 * y % n}
    forms = {name: value.to_bytes(size, "big") for name, value in values.items()}
    forms |= {"nothing": b"", "short": answer[:-1], "long": b"\x00" + answer, "all ones": b"\xff" * size}
    if (y + n).bit_length() <= 8 * size:
        forms["y + n"] = (y + n).to_bytes(size, "big")
    return forms


@pytest.mark.parametrize("name", wrong_answers(bytes(64), 1 << 511))
def test_kms_that_answers_wrongly_is_caught(name: str) -> None:
    forms: dict[str, bytes] = {}
    while name not in forms:  # y + n fits k bytes for one answer in three
        request, state = begin_open(sealed_file(), KMS.key, test_only=True)
        forms = wrong_answers(KMS.answer(request), KMS.key.n)
    with pytest.raises(WrongAnswer):
        finish_open(state, forms[name])


def test_answer_of_another_attempt_at_the_same_file_does_not_serve() -> None:
    sealed = sealed_file()
    first, _ = begin_open(sealed, KMS.key, test_only=True)
    _, state = begin_open(sealed, KMS.key, test_only=True)
    with pytest.raises(WrongAnswer):
        finish_open(state, KMS.answer(first))


def test_seed_that_gives_an_x_out_of_range_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    size = KMS.key.element_size + 16
    outputs = [bytes(size), (1).to_bytes(size, "big"), (KMS.key.n - 1).to_bytes(size, "big"), b"\x07" * size]
    used: list[bytes] = []

    def scripted(algorithm: str, *, secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
        used.append(secret)
        return outputs[len(used) - 1]

    draft = Header(replace(header_of(sealed_file()).lock, element=b""), Metadata())
    monkeypatch.setattr("blindfold._primitives.hkdf", scripted)
    assert sealing._derive_x(KMS.key.n, draft, b"", None) == int.from_bytes(outputs[-1], "big") % KMS.key.n
    assert len(set(used)) == 4, "each attempt draws a new seed"


def test_given_seed_that_gives_an_x_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindfold._primitives.hkdf", lambda *_, length, **__: bytes(length))
    arguments: dict[str, Any] = {"metadata": Metadata(), "pad_to": None, "seed": bytes(64)}
    with pytest.raises(blindfold.errors.InputInvalid):
        _seal_with(io.BytesIO(), io.BytesIO(), KMS.key, POLICY, **arguments)


def test_keys_are_bound_to_every_byte_before_the_mac_and_to_x() -> None:
    public, x = header_of(sealed_file()).to_bytes(), b"\x07" * KMS.key.element_size
    changed = [public[:i] + bytes([public[i] ^ 1]) + public[i + 1 :] for i in range(len(public))]
    pairs = [sealing.derive_keys(data, x) for data in (public, *changed)] + [
        sealing.derive_keys(public, x[1:])
    ]
    assert len({key for pair in pairs for key in pair}) == 2 * len(pairs)
