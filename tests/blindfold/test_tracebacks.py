"""A report of an error with the locals of every frame shows nothing secret."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest
from honest_kms import TINY, HonestKms
from test_secrecy import FAILURES, POLICY, SECRET, Failure, opening, spellings

import blindfold
from blindfold import _primitives, begin_open, evaluation, keygen, open_unfinished_stream, sealing, stream
from blindfold import opening as opening_module
from blindfold.errors import BlindfoldError, EvaluationFault
from blindfold.evaluation import Evaluator
from blindfold.private_key import PrivateKey

KMS = HonestKms()
PACKAGE = str(Path(blindfold.__file__).parent)
EXPONENT = 65537
ELEMENT = (1234567).to_bytes(64, "big")
LARGE = SECRET * 10_000


def reported(error: BaseException) -> list[str]:
    """What a collector of errors would report of this package's frames, and of generated ones."""
    report = TracebackException.from_exception(error, capture_locals=True)
    assert report.stack
    chain = [report, *filter(None, (report.__cause__, report.__context__))]
    return [
        f"{frame.name}.{name} = {value}"
        for link in chain
        for frame in link.stack
        if frame.filename.startswith((PACKAGE, "<"))
        for name, value in (frame.locals or {}).items()
    ]


def shown(error: BaseException, *secrets: bytes) -> list[str]:
    """The lines of the report with one of the secrets in them. Even the beginning of a long one is one."""
    needles = [spelled for secret in secrets for spelled in spellings(secret)]
    return [line for line in reported(error) if any(needle in line for needle in needles)]


def number(value: Any) -> bytes:
    return int(value).to_bytes((int(value).bit_length() + 7) // 8, "big")


def raised(work: Callable[[], object], kind: type[BaseException]) -> BaseException:
    with pytest.raises(kind) as caught:
        work()
    return caught.value


# Opening


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.comment)
def test_no_frame_of_a_failed_opening_holds_a_secret(failure: Failure) -> None:
    case = opening(flip=failure.flip)
    error = raised(lambda: failure.fail(case), failure.error)
    assert not shown(error, *case.secrets)


def test_no_frame_of_a_stream_that_fails_late_holds_a_secret() -> None:
    sealed = bytearray(blindfold.seal(LARGE, KMS.key, POLICY, pad=True, test_only=True))
    sealed[-1] ^= 1
    request, state = begin_open(bytes(sealed), KMS.key, test_only=True)
    pieces = open_unfinished_stream(state, KMS.answer(request))
    assert SECRET in next(pieces)
    error = raised(lambda: list(pieces), blindfold.errors.OpenFailed)
    assert not shown(error, SECRET)
    assert not [line for line in reported(error) if "key" in line.split(" = ")[0]]


def test_no_frame_of_a_source_that_fails_holds_a_secret() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > stream.CHUNK:
                raise OSError("the disk is gone")
            return super().read(size)

    source = Broken(blindfold.seal(LARGE, KMS.key, POLICY, test_only=True))
    request, state = begin_open(source, KMS.key, test_only=True)
    pieces = open_unfinished_stream(state, KMS.answer(request))
    error = raised(lambda: list(pieces), OSError)
    assert not shown(error, SECRET)


def test_no_frame_of_an_opening_that_cannot_begin_holds_the_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    blinds: list[int] = []
    draw = _primitives.random_unit

    def recorded(n: int) -> int:
        blinds.append(int(draw(n)))
        return blinds[-1]

    monkeypatch.setattr(_primitives, "random_unit", recorded)
    monkeypatch.setattr(opening_module, "BlindRequest", fail)
    sealed = blindfold.seal(SECRET, KMS.key, POLICY, test_only=True)
    error = raised(lambda: begin_open(sealed, KMS.key, test_only=True), MemoryError)
    assert not shown(error, *map(number, blinds))
    assert blinds


# Sealing


class FullDisk:
    """Takes as many pieces, and then no more."""

    def __init__(self, pieces: int) -> None:
        self._left = pieces

    def write(self, data: bytes, /) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError("No space left on device")


class FailingSource(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 2 * stream.CHUNK:
            raise OSError("the disk is gone")
        return super().read(size)


def seal_into(pieces: int) -> None:
    blindfold.seal_stream(io.BytesIO(LARGE), FullDisk(pieces), KMS.key, POLICY, test_only=True)


def seal_from(source: io.BytesIO, pad_to: int | None = None) -> None:
    blindfold.seal_stream(source, io.BytesIO(), KMS.key, POLICY, pad_to=pad_to, test_only=True)


SEALINGS: dict[str, tuple[type[BaseException], Callable[[], object]]] = {
    "a disk that is full at once": (OSError, lambda: seal_into(0)),
    "a disk that is full later": (OSError, lambda: seal_into(2)),
    "a source that fails": (OSError, lambda: seal_from(FailingSource(LARGE))),
    "a source that grew": (BlindfoldError, lambda: seal_from(io.BytesIO(LARGE), len(LARGE) - 1)),
    "a source that shrank": (BlindfoldError, lambda: seal_from(io.BytesIO(LARGE), len(LARGE) + 70_000)),
    "a name that is none": (
        BlindfoldError,
        lambda: blindfold.seal(SECRET, KMS.key, POLICY, name="\n", test_only=True),
    ),
    "a key that is too small": (BlindfoldError, lambda: blindfold.seal(SECRET, KMS.key, POLICY)),
}


@pytest.mark.parametrize(("kind", "work"), SEALINGS.values(), ids=SEALINGS)
def test_no_frame_of_a_failed_sealing_holds_a_secret(
    kind: type[BaseException], work: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [SECRET]
    derive = sealing.derive_keys

    def recorded(public: bytes, x: bytes) -> tuple[bytes, bytes]:
        secrets.extend((x, *derive(public, x)))
        return derive(public, x)

    monkeypatch.setattr(sealing, "derive_keys", recorded)
    error = raised(work, kind)
    assert not shown(error, *secrets)


# Evaluating


@pytest.fixture
def key() -> PrivateKey:
    return PrivateKey(*TINY, test_only=True)


def secrets_of(key: PrivateKey, evaluator: Evaluator) -> Iterator[bytes]:
    order = (key.p - 1) * (key.q - 1)
    root_exponent = pow(EXPONENT, -1, int(order))
    root = pow(int.from_bytes(ELEMENT, "big"), root_exponent, key.n)
    yield from map(number, (*TINY, order, root_exponent, evaluator._coefficient, root))
    for prepared in evaluator._exponents._entries.values():
        yield from map(number, (prepared.root_exponent, prepared.factor, prepared.unblind))


def numbers_in(values: tuple[Any, ...]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, tuple) else (value,)


EVALUATIONS: dict[str, Callable[[Evaluator], object]] = {
    "an element out of range": lambda it: it.evaluate(bytes(64), EXPONENT),
    "an element of another size": lambda it: it.evaluate(ELEMENT[1:], EXPONENT),
    "an exponent that is none": lambda it: it.evaluate(ELEMENT, 4),
    "an evaluation": lambda it: it.evaluate(ELEMENT, EXPONENT),
    "a self-test": lambda it: it.self_test(),
}
BREAKAGES: dict[str, tuple[str, type[BaseException]]] = {
    "a fault": ("crt_root", EvaluationFault),
    "an error that is not foreseen": ("crt_root", MemoryError),
    "an interruption at the end": ("element_size", KeyboardInterrupt),
}


@pytest.mark.parametrize("work", EVALUATIONS.values(), ids=EVALUATIONS)
@pytest.mark.parametrize(("step", "kind"), BREAKAGES.values(), ids=BREAKAGES)
def test_no_frame_of_a_failed_evaluation_holds_a_secret(
    key: PrivateKey,
    work: Callable[[Evaluator], object],
    step: str,
    kind: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluator = Evaluator(key)
    evaluator.evaluate(ELEMENT, EXPONENT)

    used: list[Any] = []
    real = evaluation.crt_root

    def recorded(key: PrivateKey, *values: Any) -> Any:
        root = real(key, *values)
        used.extend((*numbers_in(values), root))
        return root

    def fail(*values: Any) -> None:
        used.extend(numbers_in(values[1:]))
        raise kind

    monkeypatch.setattr(evaluation, "crt_root", recorded)
    monkeypatch.setattr(evaluation, step, fail)
    secrets = list(secrets_of(key, evaluator))
    error = raised(lambda: work(evaluator), BaseException)
    secrets += [number(value) for value in used if value != EXPONENT]
    assert not shown(error, *secrets)


def test_no_frame_of_a_stopped_evaluator_holds_a_secret(key: PrivateKey) -> None:
    evaluator = Evaluator(key)
    evaluator._coefficient ^= 1
    for _ in range(2):
        error = raised(lambda: evaluator.evaluate(ELEMENT, EXPONENT), EvaluationFault)
        assert not shown(error, *secrets_of(key, evaluator))


# Private keys


def damaged(at: int) -> bytes:
    data = bytearray(PrivateKey(*TINY, test_only=True).to_bytes().reveal())
    data[at] ^= 1
    return bytes(data)


KEYS: dict[str, Callable[[], object]] = {
    "too small": lambda: PrivateKey(*TINY),
    "another residue": lambda: PrivateKey(TINY[0], TINY[1] + 2, test_only=True),
    "another form": lambda: PrivateKey(TINY[0] - 4, TINY[1] + 4, test_only=True),
    "twice the same": lambda: PrivateKey(TINY[0], TINY[0], test_only=True),
    "not prime": lambda: PrivateKey(TINY[0], TINY[1] - 12, test_only=True).check_primes(),
    "bytes of another version": lambda: PrivateKey.from_bytes(damaged(0), test_only=True),
    "bytes of another length": lambda: PrivateKey.from_bytes(damaged(2), test_only=True),
    "bytes of other primes": lambda: PrivateKey.from_bytes(damaged(-1), test_only=True),
    "bytes of too small ones": lambda: PrivateKey.from_bytes(
        PrivateKey(*TINY, test_only=True).to_bytes().reveal()
    ),
    "bytes and more": lambda: PrivateKey.from_bytes(
        PrivateKey(*TINY, test_only=True).to_bytes().reveal() + b"\x00", test_only=True
    ),
}


@pytest.mark.parametrize("work", KEYS.values(), ids=KEYS)
def test_no_frame_of_a_refused_private_key_holds_a_prime(work: Callable[[], object]) -> None:
    error = raised(work, BlindfoldError)
    assert not shown(error, *map(number, TINY))


def test_no_frame_of_an_ended_search_holds_a_prime(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = b"".join(b"\x00\x00\x00\x01" + b"\x00\x20" + number(prime) for prime in TINY)
    monkeypatch.setattr(keygen, "_searching", lambda bits, workers: io.BytesIO(reports))

    def stop(tested: int, found: int) -> None:
        if found == 2:
            raise KeyboardInterrupt

    error = raised(lambda: keygen.generate(512, progress=stop, test_only=True), KeyboardInterrupt)
    assert not shown(error, *map(number, TINY))


def test_report_of_an_error_would_show_what_a_frame_held() -> None:
    def fail(secret: bytes) -> None:
        raise ValueError

    error = raised(lambda: fail(SECRET), ValueError)
    report = TracebackException.from_exception(error, capture_locals=True)
    assert repr(SECRET) in (report.stack[-1].locals or {}).values()
