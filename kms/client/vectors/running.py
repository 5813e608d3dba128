"""Running the cases of vector files: grouped by key, several groups at a time, each against a bench."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kms.client.errors import CallExhausted, CallFailed, CallTimedOut, CallUnauthenticated, CallUnavailable
from kms.client.vectors import checks, own_checks
from kms.client.vectors.bench import Bench
from kms.client.vectors.case import (
    Case,
    CiphertextCase,
    MacCase,
    OaepCase,
    PssCase,
    PublicKeyCase,
    RawCase,
    Reason,
    WrappingCase,
)
from kms.client.vectors.files import VectorFile

# Each waits for the server most of the time, which makes an RSA key for every import.
THREADS = 8
# Of these no case is guilty: the run ends.
_FATAL = (CallUnavailable, CallTimedOut, CallExhausted, CallUnauthenticated)

Check = Callable[[Bench, Sequence[Any]], list[str]]

CHECKS: Mapping[type[Case], Check] = MappingProxyType(
    {
        RawCase: checks.check_raw,
        OaepCase: checks.check_oaep,
        PssCase: checks.check_pss,
        MacCase: checks.check_mac,
        CiphertextCase: own_checks.check_ciphertexts,
        WrappingCase: own_checks.check_wrappings,
        PublicKeyCase: own_checks.check_public_keys,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that did not become what its vector says."""

    case_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file: every case of it is among passed, failures and unsupported."""

    title: str
    passed: int
    failures: tuple[Failure, ...]
    unsupported: Mapping[Reason, int]

    @property
    def skipped(self) -> int:
        return sum(self.unsupported.values())

    @property
    def cases(self) -> int:
        return self.passed + len(self.failures) + self.skipped


@dataclass(frozen=True, slots=True)
class _Placed:
    """A case, and where it is from: the index of its file, and its own in there."""

    file: int
    index: int
    case: Case


def run(files: Sequence[VectorFile], bench: Bench, advance: Callable[[int], None]) -> list[Report]:
    """A report of each file, in order. `advance` is told how many cases were run.

    Raises `CallFailed` where the server cannot go on: unreachable, or out of patience with this caller.
    """
    groups: dict[tuple[str, str, bytes], list[_Placed]] = {}
    for number, file in enumerate(files):
        for index, case in enumerate(file.parsed.cases):
            groups.setdefault(case.group, []).append(_Placed(number, index, case))
    verdicts: list[dict[int, str]] = [{} for _ in files]
    executor = ThreadPoolExecutor(THREADS, "vectors")
    try:
        futures = {executor.submit(_run_group, bench, group): group for group in groups.values()}
        for future in as_completed(futures):
            for placed, verdict in zip(futures[future], future.result(), strict=True):
                verdicts[placed.file][placed.index] = verdict
            advance(len(futures[future]))
    finally:
        executor.shutdown(cancel_futures=True)
    return [report_of(file, found) for file, found in zip(files, verdicts, strict=True)]


def _run_group(bench: Bench, group: Sequence[_Placed]) -> list[str]:
    cases = [placed.case for placed in group]
    try:
        return CHECKS[type(cases[0])](bench, cases)
    except _FATAL:
        raise
    except CallFailed as error:
        return [f"its key cannot be imported or used: {error.message}"] * len(cases)


def report_of(file: VectorFile, verdicts: Mapping[int, str]) -> Report:
    """From the verdicts on the cases that were run, by their index in the file."""
    cases = file.parsed.cases
    failures = [
        Failure(cases[index].case_id, verdicts[index]) for index in sorted(verdicts) if verdicts[index]
    ]
    return Report(file.title, len(verdicts) - len(failures), tuple(failures), file.parsed.unsupported)
