"""`kms serve` with something left out of Encrypt, so that the difference tells what that costs.

    python -m benchmarks.stage_server STAGE serve ...

`path` is all before and after the operation, with a constant in its place; `operation` has it too, and only
the audit event is left out. `anyone` serves everybody as whoever came first, and asks no role and no
policy again. `at_once` is a server that holds no refusal back.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported
from cli.kms import main
from kms.model.names import KeyName, KeyVersionName
from kms.server.interceptors.authentication import Authentication
from kms.server.late_refusals import LateRefusals
from kms.services.call import Call
from kms.services.cryptography import Cryptography, Made, Plain
from kms.services.key_access import KeyAccesses
from kms.services.operations import Operations

STAGES = ("path", "operation")
ANYONE = "anyone"
AT_ONCE = "at_once"
# Format, key uid, version, nonce and tag of a ciphertext (docs/spec/ciphertext.md).
OVERHEAD = 1 + 16 + 4 + 12 + 16


async def constant(self: Cryptography, call: Call, key: KeyName, items: Sequence[Plain]) -> list[Made]:
    name = str(KeyVersionName(key.tenant, key.namespace, key.key, 1))
    return [Made(name, bytes(OVERHEAD + len(item.plaintext))) for item in items]


async def unaudited(self: Operations, *_: object) -> None:
    """No event."""


def no_delay(self: LateRefusals, user: str) -> float:
    return 0.0


def first_answer(act: Callable[..., Any]) -> Callable[..., Any]:
    """What act gave the first time that it gave something, whatever it is asked."""
    given: Any = None

    @wraps(act)
    def answer(*arguments: Any) -> Any:
        nonlocal given
        given = act(*arguments) if given is None else given
        return given

    return answer


def serve_anyone() -> None:
    authenticate = Authentication.__call__
    callers: list[Any] = []

    def as_the_first(self: Authentication, call: Any) -> Any:
        if not callers:
            callers.append(authenticate(self, call).caller)
        return call._replace(caller=callers[0])

    Authentication.__call__ = as_the_first  # type: ignore[method-assign]
    KeyAccesses.get = first_answer(KeyAccesses.get)  # type: ignore[method-assign]


def leave_out(stage: str) -> None:
    if stage == AT_ONCE:
        LateRefusals.delay = no_delay  # type: ignore[method-assign]
    elif stage == ANYONE:
        serve_anyone()
    elif stage == "path":
        Cryptography.encrypt = constant  # type: ignore[method-assign,assignment]
    else:
        Operations._record = unaudited  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    leave_out(sys.argv.pop(1))
    main()
