"""The exit codes of both programs, and which error ends in which. docs/cli.md shows this table."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class ExitCode(IntEnum):
    """What a script can tell apart without reading words. Codes above 128 are 128 + the signal's number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    MISMATCH = 4
    DAMAGED = 5
    UNAVAILABLE = 6
    WRONG_ANSWER = 7
    STALE = 8
    CONFLICT = 9
    LIMITED = 10
    UNAUTHENTICATED = 11
    INTERRUPTED = 130
    READER_GONE = 141


MEANING: Mapping[ExitCode, str] = MappingProxyType(
    {
        ExitCode.OK: "Done; what was asked for is on standard output or in the file of `--out`.",
        ExitCode.FAILED: "Failed for a reason not named below, such as a full disk.",
        ExitCode.USAGE: "The call is wrong: an option, a value outside its limits, a missing file.",
        ExitCode.DENIED: "The KMS refuses, by policy or role, or has no such thing: it does not tell which.",
        ExitCode.MISMATCH: "Not found, or things that do not belong together: tenant, version, or name.",
        ExitCode.DAMAGED: "A file or document is damaged, not of the expected form, or cannot be verified.",
        ExitCode.UNAVAILABLE: "The KMS cannot be reached or cannot serve now; try again later.",
        ExitCode.WRONG_ANSWER: "The KMS computed a wrong answer. Do not retry; raise an alarm.",
        ExitCode.STALE: "A document is expired, or it or the store is behind what was used here before.",
        ExitCode.CONFLICT: "The resource exists already, has changed meanwhile, or is in another state.",
        ExitCode.LIMITED: "A rate limit or a cryptographic budget is used up.",
        ExitCode.UNAUTHENTICATED: "The KMS does not accept the identity: renew or enrol again.",
        ExitCode.INTERRUPTED: "Interrupted from the keyboard. Nothing half-written stays behind.",
        ExitCode.READER_GONE: "The program that read standard output ended first.",
    }
)
