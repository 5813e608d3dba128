"""Operations on keys, asked of the KMS as the identity."""

from typing import TypeVar

from kms.client.operations import Request
from kms.model.names import KeyName, KeyVersionName
from wingman.errors import NotServedHere
from wingman.kms_connection import KmsConnection

R = TypeVar("R")


class KeyOperations:
    """What programs ask of keys."""

    def __init__(self, connection: KmsConnection) -> None:
        self._connection = connection

    async def run(self, name: KeyName | KeyVersionName, request: Request[R]) -> R:
        """Raises `CallFailed`, `NotReady`, and `InvalidField` for a request that contradicts itself."""
        return await self._connection.ask(lambda client: client.run(str(name), request))


def parse_key(text: str, tenant: str) -> KeyName | KeyVersionName:
    """The whole name of a key, or of a version. Raises `InvalidField`, `NotServedHere`.

    `tenant` is that of the identity, "" where it is not known.
    """
    kind = KeyVersionName if "/versions/" in text else KeyName
    name: KeyName | KeyVersionName = kind.parse(text, "key")
    if tenant and name.tenant != tenant:
        raise NotServedHere(f"the key is of another tenant than {tenant}")
    return name
