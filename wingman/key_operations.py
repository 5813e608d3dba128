"""Operations on keys: here with a lease, or asked of the KMS as the identity."""

from typing import Any

from kms.client.operations import Decrypt, Decrypted, Encrypt, Encrypted, Request
from kms.model.names import KeyName, KeyVersionName
from wingman.errors import NotServedHere
from wingman.key_leases import KeyLeases
from wingman.kms_connection import KmsConnection


class KeyOperations:
    """What programs ask of keys."""

    def __init__(self, connection: KmsConnection, leases: KeyLeases) -> None:
        self._connection = connection
        self._leases = leases

    async def run(self, name: KeyName | KeyVersionName, request: Request[Any]) -> Any:
        """The answer of the request's kind.

        Raises `CallFailed`, `NotReady`, `DecryptionFailed`, and `InvalidField` for a request that contradicts
        itself.
        """
        made = self._here(name, request)
        if made is None:
            made = await self._connection.ask(lambda client: client.run(str(name), request))
            self._note(name, request, made)
        return made

    def _here(self, name: KeyName | KeyVersionName, request: Request[Any]) -> Encrypted | Decrypted | None:
        if isinstance(name, KeyName) and isinstance(request, Encrypt):
            return self._leases.encrypt(name, request)
        if isinstance(name, KeyName) and isinstance(request, Decrypt):
            return self._leases.decrypt(name, request)
        return None

    def _note(self, name: KeyName | KeyVersionName, request: Request[Any], made: object) -> None:
        if isinstance(name, KeyName) and isinstance(made, Encrypted):
            self._leases.encrypted(name, made)
        elif isinstance(name, KeyName) and isinstance(request, Decrypt) and isinstance(made, Decrypted):
            self._leases.decrypted(name, request, made)


def parse_key(text: str, tenant: str) -> KeyName | KeyVersionName:
    """The whole name of a key, or of a version. Raises `InvalidField`, `NotServedHere`.

    `tenant` is that of the identity, "" where it is not known.
    """
    kind = KeyVersionName if "/versions/" in text else KeyName
    name: KeyName | KeyVersionName = kind.parse(text, "key")
    if tenant and name.tenant != tenant:
        raise NotServedHere(f"the key is of another tenant than {tenant}")
    return name
