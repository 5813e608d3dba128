"""The device as the server knows it: a pool of helpers that are started, lost and started again."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from kms.crypto import public_keys, rsa_keys
from kms.crypto.device.checks import usable_algorithms
from kms.crypto.device.lane import DeviceSettings, Lane, LaneLost
from kms.crypto.device.messages import Answer, Item, Operation, Request, Status
from kms.errors import (
    DecryptionFailed,
    DeviceAbsent,
    DeviceFailed,
    DeviceLacksAlgorithm,
    DeviceUnavailable,
    InvalidField,
    KmsError,
)
from kms.model.algorithms import ALGORITHMS, Algorithm
from kms.model.device_handle import ID_SIZE, DeviceHandle

LANES = 4
FIRST_DELAY, MAX_DELAY = 1.0, 60.0

_log = logging.getLogger(__name__)

Start = Callable[[DeviceSettings], Lane]


class MadeKey(NamedTuple):
    """A key that the device keeps; `public_key` is an SPKI in DER, empty for symmetric keys."""

    handle: DeviceHandle
    public_key: bytes


@dataclass(slots=True)
class _Attempts:
    """When a helper may be started next. Losing one is nothing; losing one after the other is waited out."""

    failures: int = 0
    not_before: float = 0.0
    reason: str = ""
    pin_refused: bool = False

    def fail(self, lost: LaneLost, now: float) -> None:
        self.reason, self.pin_refused = lost.text, lost.pin_refused
        self.failures += 1
        delay = min(FIRST_DELAY * 2 ** (self.failures - 2), MAX_DELAY) if self.failures > 1 else 0.0
        self.not_before = now + delay


class Device:
    """Calls wait for the device, and so belong into `workers`. Safe for calls from several threads.

    Nothing is connected before the first call. A lost helper or token fails the calls in flight at most;
    the next one starts anew, at once or after a delay that doubles up to a minute. A PIN that was refused is
    not tried again: tokens lock themselves after a few.
    """

    def __init__(
        self,
        settings: DeviceSettings,
        start: Start = Lane.start,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workers = ThreadPoolExecutor(LANES, "kms-device")
        self._settings = settings
        self._start = start
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._idle: list[Lane] = []
        self._lanes: set[Lane] = set()
        self._attempts = _Attempts()
        self._checked: tuple[str, frozenset[str]] = ("", frozenset())
        self._closed = False

    def __str__(self) -> str:
        return repr(self._settings.token)

    @property
    def trouble(self) -> str:
        """Why it was lost last, "" if it was not. For the operator: callers are told of no files."""
        return self._attempts.reason

    def connect(self) -> str:
        """The token's serial number, once it was reached and tested. Raises `DeviceUnavailable`."""
        with self._lane() as lane:
            return lane.serial

    def check_algorithm(self, algorithm: Algorithm) -> None:
        """Raise `DeviceLacksAlgorithm` if the token cannot do this, `DeviceUnavailable`."""
        with self._lane():
            usable = self._checked[1]
        if algorithm.name not in usable:
            raise DeviceLacksAlgorithm(f"the device {self} cannot do {algorithm.name}")

    def generate(self, algorithm: Algorithm, key_id: bytes, label: str) -> MadeKey:
        """A new key of that id (16 bytes) inside the token, which does not give it out. Up to minutes.

        Raises `DeviceLacksAlgorithm`, `DeviceUnavailable`, `DeviceFailed`. After the last two the key may be
        there all the same.
        """
        self.check_algorithm(algorithm)
        request = Request(Operation.GENERATE, algorithm.name, key_id, [Item(label.encode())])
        with self._lane() as lane:
            handle = DeviceHandle(lane.serial, key_id)
            values = [self._value(answer, handle, algorithm.name) for answer in lane.ask(request)]
        if not algorithm.is_asymmetric:
            return MadeKey(handle, b"")
        return MadeKey(handle, self._public_key(algorithm, values))

    def use(
        self, handle: DeviceHandle, operation: Operation, algorithm: str, items: Sequence[Item]
    ) -> list[bytes | KmsError]:
        """What the key makes of each item, or why it does not.

        Raises `DeviceUnavailable`, `DeviceAbsent`, `DeviceFailed`.
        """
        answers = self._ask_twice(handle, Request(operation, algorithm, handle.id, items))
        results = [self._result(answer, handle, algorithm) for answer in answers]
        if len(results) == len(items):
            return results
        if isinstance(results[0], KmsError):
            return results[:1] * len(items)
        raise DeviceFailed(f"the device {self} gave {len(results)} answers to {len(items)} items")

    def destroy(self, handle: DeviceHandle) -> None:
        """End a key for good, if the token has it still. Raises `DeviceUnavailable`, `DeviceAbsent`."""
        [answer] = self._ask_twice(handle, Request(Operation.DESTROY, "", handle.id, [Item(b"")]))
        self._value(answer, handle, "")

    def find(self, label: str) -> frozenset[DeviceHandle]:
        """All keys with a label; all keys of the token for an empty one. Raises `DeviceUnavailable`."""
        with self._lane() as lane:
            request = Request(Operation.FIND, "", bytes(ID_SIZE), [Item(label.encode())])
            [answer] = lane.ask(request)
            ids = self._value(answer, None, "")
            places = range(0, len(ids), ID_SIZE)
            return frozenset(DeviceHandle(lane.serial, ids[place : place + ID_SIZE]) for place in places)

    def close(self) -> None:
        """End all helpers, whatever they do. Calls in flight and after it raise `DeviceUnavailable`."""
        with self._lock:
            self._closed = True
            lanes = set(self._lanes)
        for lane in lanes:
            lane.kill()
        self.workers.shutdown(cancel_futures=True)
        for lane in lanes:
            lane.close()

    def _ask_twice(self, handle: DeviceHandle, request: Request) -> Sequence[Answer]:
        """Once more where the helper was lost, by a new one: all but generating can be repeated."""
        try:
            return self._ask(handle, request)
        except DeviceUnavailable:
            return self._ask(handle, request)

    def _ask(self, handle: DeviceHandle, request: Request) -> Sequence[Answer]:
        with self._lane() as lane:
            if lane.serial != handle.serial:
                raise DeviceAbsent(
                    f"the key version is in the device {handle}, and the one that is connected as {self} has "
                    f"the serial number {lane.serial}"
                )
            return lane.ask(request)

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        """A helper for one exchange. Raises `DeviceUnavailable`, also for a `LaneLost` of the caller's."""
        try:
            with self._taken() as lane:
                yield lane
        except LaneLost as error:
            lost = error
        else:
            return
        _log.error("the device %s was lost: %s", self, lost.text)
        with self._lock:
            self._attempts.fail(lost, self._monotonic())
        raise self._unavailable()

    @contextmanager
    def _taken(self) -> Iterator[Lane]:
        """An idle helper or a new one; it is kept unless it was lost, or left amid an exchange."""
        lane = self._idle_lane() or self._started()
        try:
            yield lane
        except KmsError:
            self._give_back(lane)
            raise
        except BaseException:
            self._drop(lane)
            raise
        self._give_back(lane)

    def _idle_lane(self) -> Lane | None:
        """Raises `DeviceUnavailable` where none is idle and none may be started."""
        with self._lock:
            while self._idle:
                lane = self._idle.pop()
                if lane.is_alive():
                    return lane
                self._lanes.discard(lane)
                lane.close()
            waits = self._monotonic() < self._attempts.not_before
            if self._closed or self._attempts.pin_refused or waits:
                raise self._unavailable()
        return None

    def _started(self) -> Lane:
        lane = self._start(self._settings)
        with self._lock:
            self._lanes.add(lane)
            closed = self._closed
        if closed:
            self._drop(lane)
            raise self._unavailable()
        if lane.serial != self._checked[0]:
            try:
                usable = usable_algorithms(lane)
            except BaseException:
                self._drop(lane)
                raise
            self._checked = (lane.serial, usable)
            missing = ", ".join(name for name in ALGORITHMS if name not in usable) or "nothing"
            _log.info("the device %s has the serial number %s; it lacks %s", self, lane.serial, missing)
        return lane

    def _give_back(self, lane: Lane) -> None:
        with self._lock:
            self._attempts = _Attempts()
            self._idle.append(lane)

    def _drop(self, lane: Lane) -> None:
        with self._lock:
            self._lanes.discard(lane)
        lane.close()

    def _unavailable(self) -> DeviceUnavailable:
        return DeviceUnavailable(f"the device {self} cannot be reached")

    def _public_key(self, algorithm: Algorithm, numbers: Sequence[bytes]) -> bytes:
        """Raises `DeviceFailed` for a modulus or exponent that was not asked for."""
        try:
            modulus, exponent = (int.from_bytes(number, "big") for number in numbers)
            spki = public_keys.from_numbers(modulus, exponent)
            return rsa_keys.spki(rsa_keys.parse_public(spki, [algorithm.key_bits], "public_key"))
        except (InvalidField, ValueError):
            pass
        raise DeviceFailed(f"the device {self} made another key than it was asked for")

    def _value(self, answer: Answer, handle: DeviceHandle | None, algorithm: str) -> bytes:
        result = self._result(answer, handle, algorithm)
        if isinstance(result, KmsError):
            raise result
        return result

    def _result(self, answer: Answer, handle: DeviceHandle | None, algorithm: str) -> bytes | KmsError:
        status, text = answer.status, answer.value.decode("utf-8", "replace")
        if status is Status.DONE:
            return answer.value
        if status is Status.INVALID:
            return DecryptionFailed()
        if status is Status.ABSENT:
            return DeviceAbsent(f"the device {self} does not hold the key version's key {handle} any more")
        if status is Status.LACKING:
            return DeviceLacksAlgorithm(f"the device {self} cannot do {algorithm}: {text}")
        return DeviceFailed(f"the device {self} failed: {text}")
