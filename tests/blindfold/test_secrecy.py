"""What must never be seen: x, the answer, the blinding factor, the keys and the secret."""

import base64
import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass

import pytest
from honest_kms import HonestKms, element_of, header_of

from blindfold import BlindRequest, OpeningState, SecretBytes, finish_open, open_unfinished_stream, seal
from blindfold.errors import BlindfoldError, NameMismatch, OpenFailed, StateConsumed, WrongAnswer
from blindfold.opening import _begin_open_with
from blindfold.sealing import derive_keys
from testvectors import material

KMS = HonestKms()
POLICY = material.policy()
SECRET = b"nobody may read this in a log"
R = 0x5EC0DE5EC0DE5EC0DE5EC0DE5EC0DE


@dataclass(frozen=True)
class Opening:
    """One file, opened halfway, and everything secret about it."""

    state: OpeningState
    request: BlindRequest
    answer: bytes
    secrets: tuple[bytes, ...]

    def leaks(self, text: str) -> list[str]:
        """The secrets in a text, in any spelling that Python or a log would give them."""
        return [needle for secret in self.secrets for needle in spellings(secret) if needle in text]


def spellings(secret: bytes) -> list[str]:
    number = int.from_bytes(secret, "big")
    return [
        secret.hex(),
        secret.hex().upper(),
        f"{number:x}",
        str(number),
        repr(secret)[2:-1],
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
    ]


def opening(*, flip: int | None = None, pad: bool = False) -> Opening:
    """`flip` is the byte that is changed, counted from the mac's first."""
    sealed = bytearray(seal(SECRET, KMS.key, POLICY, name="web", pad=pad, test_only=True))
    header = header_of(bytes(sealed))
    public = header.to_bytes()
    if flip is not None:
        sealed[len(public) + flip] ^= 1
    request, state = _begin_open_with(bytes(sealed), KMS.key, test_only=True, blind=R)
    x = KMS.x_of(bytes(sealed), POLICY).to_bytes(KMS.key.element_size, "big")
    answer = KMS.answer(request)
    keys = derive_keys(public, x)
    r = R.to_bytes((R.bit_length() + 7) // 8, "big")
    return Opening(state, request, answer, (x, answer, r, *keys, SECRET))


def test_search_for_secrets_finds_them_in_every_spelling() -> None:
    case = opening()
    for secret in case.secrets:
        for text in (repr(secret), secret.hex(), str(int.from_bytes(secret, "big"))):
            assert case.leaks(f"text {text} text")


def wrong(case: Opening) -> bytes:
    return case.answer[:-1] + bytes([case.answer[-1] ^ 1])


@dataclass(frozen=True)
class Failure:
    comment: str
    error: type[BlindfoldError]
    flip: int | None
    fail: Callable[[Opening], object]


def finish_twice(case: Opening) -> None:
    finish_open(case.state, case.answer)
    finish_open(case.state, case.answer)


FAILURES = [
    Failure("a wrong root", WrongAnswer, None, lambda c: finish_open(c.state, wrong(c))),
    Failure("an answer cut off", WrongAnswer, None, lambda c: finish_open(c.state, c.answer[1:])),
    Failure("an answer too large", WrongAnswer, None, lambda c: finish_open(c.state, b"\xff" * 64)),
    Failure("a changed mac", OpenFailed, 0, lambda c: finish_open(c.state, c.answer)),
    Failure("a changed payload", OpenFailed, 40, lambda c: finish_open(c.state, c.answer)),
    Failure(
        "a changed payload in a stream",
        OpenFailed,
        40,
        lambda c: list(open_unfinished_stream(c.state, c.answer)),
    ),
    Failure("another name", NameMismatch, None, lambda c: finish_open(c.state, c.answer, expect_name="db")),
    Failure("a state used twice", StateConsumed, None, finish_twice),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.comment)
def test_no_failure_shows_a_secret(failure: Failure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    case = opening(flip=failure.flip)
    with pytest.raises(failure.error) as caught:
        failure.fail(case)
    error = caught.value
    shown = [str(error), repr(error), repr(error.args), repr(vars(error)), error.hint]
    shown += traceback.format_exception(error)
    shown += [repr(case.state), str(case.state), caplog.text]
    assert not [leak for text in shown for leak in case.leaks(text)]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.comment)
def test_no_other_exception_clings_to_a_failure(failure: Failure) -> None:
    case = opening(flip=failure.flip)
    with pytest.raises(failure.error) as caught:
        failure.fail(case)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_failures_of_mac_and_payload_look_alike() -> None:
    texts = set()
    for flip in (0, 31, 32, 40):
        case = opening(flip=flip)
        with pytest.raises(OpenFailed) as caught:
            finish_open(case.state, case.answer)
        texts.add((type(caught.value), str(caught.value), caught.value.args))
    assert len(texts) == 1


def test_opening_says_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    case = opening()
    assert finish_open(case.state, case.answer).reveal() == SECRET
    assert not caplog.records


# Nothing that a caller gets holds x.


def reachable(value: object) -> list[object]:
    """A value and all that its dataclass fields hold."""
    found = [value]
    if is_dataclass(value):
        found += [item for field in fields(value) for item in reachable(getattr(value, field.name))]
    return found


@pytest.mark.parametrize("pad", [False, True])
def test_nothing_that_the_public_functions_return_holds_x(pad: bool) -> None:
    case = opening(pad=pad)
    x = case.secrets[0]
    opened = finish_open(case.state, case.answer)
    assert isinstance(opened, SecretBytes)
    assert opened.reveal() == SECRET
    returned = [*reachable(case.request), *reachable(case.state.header), opened.reveal()]
    for value in returned:
        assert value != x
        assert value != int.from_bytes(x, "big")
        assert not (isinstance(value, bytes) and x in value)


def test_sealed_file_does_not_hold_x() -> None:
    sealed = seal(SECRET, KMS.key, POLICY, test_only=True)
    x = KMS.x_of(sealed, POLICY)
    assert pow(x, 3, KMS.key.n) != element_of(sealed)
    assert x.to_bytes(KMS.key.element_size, "big") not in sealed
    assert SECRET not in sealed


# The state.


def test_state_shows_its_key_version_and_whether_it_is_consumed() -> None:
    case = opening()
    assert repr(case.state) == "OpeningState(key_version=1, consumed=False)"
    finish_open(case.state, case.answer)
    assert repr(case.state) == "OpeningState(key_version=1, consumed=True)"


@pytest.mark.parametrize("attempt", [copy.copy, copy.deepcopy, pickle.dumps])
def test_state_is_neither_copied_nor_stored(attempt: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="neither copied nor stored"):
        attempt(opening().state)


def test_consumed_state_has_let_go_of_the_blinding_factor() -> None:
    case = opening()
    with pytest.raises(WrongAnswer):
        finish_open(case.state, wrong(case))
    held = [getattr(case.state, slot) for slot in OpeningState.__slots__]
    assert R not in held
