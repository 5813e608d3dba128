"""GenerateRandom: bytes from the operating system, if the namespace's policy allows it."""

import secrets
from collections.abc import Sequence

from kms.authz.roles import operation_permission
from kms.errors import KmsError, LimitExceeded
from kms.model.names import NamespaceName
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.services.key_policies import KeyPolicies

OPERATION = "GENERATE_RANDOM"
GENERATE = Action("GenerateRandom", operation_permission(OPERATION))
MAX_BYTES = 1024


class Randomness:
    def __init__(self, guard: Guard, policies: KeyPolicies) -> None:
        self._guard = guard
        self._policies = policies

    async def generate(
        self, call: Call, parent: NamespaceName, sizes: Sequence[int]
    ) -> list[bytes | KmsError]:
        """Bytes of each size, 1 to 1,024; `LimitExceeded` is the result of another. Raises `Denied`."""

        def act() -> Outcome[list[bytes | KmsError]]:
            rule = self._policies.resolve_namespace(parent).require(call.caller, OPERATION, None, call.time)
            return Outcome([_drawn(size) for size in sizes], [], {"rule": rule, "items": str(len(sizes))})

        return await self._guard.perform(call, GENERATE, parent, act, in_thread=True)


def _drawn(size: int) -> bytes | KmsError:
    if 1 <= size <= MAX_BYTES:
        return secrets.token_bytes(size)
    return LimitExceeded("byte_count", f"must be from 1 to {MAX_BYTES}")
