"""`kms serve` with something left out of Encrypt, so that the difference tells what that costs.

    python -m benchmarks.stage_server STAGE serve ...

`path` is all before and after the operation, with a constant in its place; `operation` has it too, and only
the audit event is left out. `at_once` is a server that holds no refusal back.
"""

import sys
from collections.abc import Sequence

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported
from cli.kms import main
from kms.model.names import KeyName, KeyVersionName
from kms.server.late_refusals import LateRefusals
from kms.services.call import Call
from kms.services.cryptography import Cryptography, Made, Plain
from kms.services.operations import Operations

STAGES = ("path", "operation")
AT_ONCE = "at_once"
# Format, key uid, version, nonce and tag of a ciphertext (docs/spec/ciphertext.md).
OVERHEAD = 1 + 16 + 4 + 12 + 16


async def constant(self: Cryptography, call: Call, key: KeyName, items: Sequence[Plain]) -> list[Made]:
    name = KeyVersionName(key.tenant, key.namespace, key.key, 1)
    return [Made(name, bytes(OVERHEAD + len(item.plaintext))) for item in items]


async def unaudited(self: Operations, *_: object) -> None:
    """No event."""


def no_delay(self: LateRefusals, user: str) -> float:
    return 0.0


def leave_out(stage: str) -> None:
    if stage == AT_ONCE:
        LateRefusals.delay = no_delay  # type: ignore[method-assign]
    elif stage == "path":
        Cryptography.encrypt = constant  # type: ignore[method-assign,assignment]
    else:
        Operations._record = unaudited  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    leave_out(sys.argv.pop(1))
    main()
