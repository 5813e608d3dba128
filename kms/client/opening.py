"""Opening sealed secrets through a KMS, which learns nothing of them (docs/spec/blindfold.md, "Opening").

A request that got no answer is sent again with the same bytes, never with new ones: a resend tells the KMS
nothing that it did not know.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blindfold import OpeningState, SecretBytes, begin_open, finish_open, open_unfinished_stream
from blindfold.envelope import PolicyLock, Source, read_header
from blindfold.errors import BlindfoldError
from kms.client.api import Api
from kms.client.documents import SERVICE, KeyDocuments
from kms.client.errors import CallFailed, from_status
from kms.client.resending import Resending, resend
from kms.model.names import BlindfoldKeyName
from protos.kms.v1 import blindfold_service_pb2 as pb

BATCH = 256


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed secret in its binary form, and the name that it must have, None for any."""

    data: bytes
    expect_name: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A secret, and for how long its policy lets a sidecar keep it: `cache_seconds`, 0 for not at all."""

    secret: SecretBytes
    cache_seconds: int


def open_sealed(
    api: Api, sealed: bytes, *, expect_name: str | None = None, keys: KeyDocuments | None = None
) -> SecretBytes:
    """The secret in a binary form. `keys` saves a call for each version that it knows.

    Raises `CallFailed` where the KMS refuses or cannot be reached, and as `blindfold.begin_open` and
    `blindfold.finish_open`.
    """
    [result] = open_many(api, [Sealed(sealed, expect_name)], keys=keys)
    if isinstance(result, Exception):
        raise result
    return result.secret


def open_sealed_unfinished(
    api: Api, source: Source, *, expect_name: str | None = None, keys: KeyDocuments | None = None
) -> Iterator[bytes]:
    """The secret in a file, in verified pieces and constant memory, once the KMS has answered.

    Unfinished as `blindfold.open_unfinished_stream` says. Raises as `open_sealed`, `OpenFailed` until the
    end.
    """
    element, state = _begin(source, keys or KeyDocuments(api))
    [answer] = _evaluate(api, state.header.lock, [element]).answers
    if isinstance(answer, CallFailed):
        raise answer
    return open_unfinished_stream(state, answer, expect_name=expect_name)


def open_many(
    api: Api,
    sealed: Sequence[Sealed],
    *,
    keys: KeyDocuments | None = None,
    resending: Resending | None = None,
) -> list[Opened | BlindfoldError | CallFailed]:
    """The secret, or why there is none, for each in order. `resending` as for `resend`.

    Secrets under the same key version and binding are asked for together, up to 256 in a request.
    """
    documents = keys or KeyDocuments(api)
    results: dict[int, Opened | BlindfoldError | CallFailed] = {}
    groups: dict[tuple[object, ...], list[_Begun]] = {}
    for index, item in enumerate(sealed):
        try:
            element, state = _begin(io.BytesIO(item.data), documents)
        except (BlindfoldError, CallFailed) as error:
            results[index] = error
            continue
        begun = _Begun(index, element, state, item.expect_name)
        groups.setdefault(begun.group, []).append(begun)
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            results |= _open_batch(api, group[start : start + BATCH], resending)
    return [results[index] for index in range(len(sealed))]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A secret between the two halves of its opening."""

    index: int
    element: bytes
    state: OpeningState
    expect_name: str | None

    @property
    def group(self) -> tuple[object, ...]:
        """Equal for secrets that one request may name."""
        lock = self.state.header.lock
        return lock.tenant, lock.key_version, lock.binding, lock.binding_value


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """An answer, or why there is none, for each element."""

    answers: Sequence[bytes | CallFailed]
    cache_seconds: int = 0


def _open_batch(
    api: Api, batch: Sequence[_Begun], resending: Resending | None
) -> dict[int, Opened | BlindfoldError | CallFailed]:
    elements = [begun.element for begun in batch]
    try:
        evaluated = _evaluate(api, batch[0].state.header.lock, elements, resending)
    except CallFailed as error:
        evaluated = _Evaluated([error] * len(batch))
    return {
        begun.index: _finish(begun, answer, evaluated.cache_seconds)
        for begun, answer in zip(batch, evaluated.answers, strict=True)
    }


def _finish(
    begun: _Begun, answer: bytes | CallFailed, cache_seconds: int
) -> Opened | BlindfoldError | CallFailed:
    if isinstance(answer, CallFailed):
        return answer
    try:
        return Opened(finish_open(begun.state, answer, expect_name=begun.expect_name), cache_seconds)
    except BlindfoldError as error:
        # Its frames hold what the opening knew.
        return error.with_traceback(None)


def _begin(source: Source, keys: KeyDocuments) -> tuple[bytes, OpeningState]:
    """The blinded element, and what finishes the opening. Reads the header only."""
    header, public, mac = read_header(source)
    lock = header.lock
    document = keys.get(BlindfoldKeyName(lock.tenant, lock.key_version), lock.fingerprint)
    request, state = begin_open(_Rewound(public + mac, source), document)
    return request.element, state


class _Rewound:
    """A source of which some has been read, from its start again."""

    def __init__(self, head: bytes, rest: Source) -> None:
        self._head = io.BytesIO(head)
        self._rest = rest

    def read(self, size: int, /) -> bytes | None:
        return self._head.read(size) or self._rest.read(size)


def _evaluate(
    api: Api, lock: PolicyLock, elements: Sequence[bytes], resending: Resending | None = None
) -> _Evaluated:
    """Raises `CallFailed`."""
    request = pb.EvaluateBlindedRequest(
        name=str(BlindfoldKeyName(lock.tenant, lock.key_version)), elements=elements
    )
    policy = lock.policy
    if policy is None:
        request.revision_digest = lock.binding_value
    else:
        request.policy.name, request.policy.uid = policy
    evaluate = api.prepare(SERVICE, "EvaluateBlinded", request, pb.EvaluateBlindedResponse)
    answer = resend(evaluate, resending)
    results = answer.results
    if len(results) != len(elements):
        raise CallFailed(f"the KMS gave {len(results)} answers to {len(elements)} elements")
    answers = [from_status(item.error) if item.HasField("error") else item.element for item in results]
    return _Evaluated(answers, answer.decrypt_cache_timeout.seconds)
