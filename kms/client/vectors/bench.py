"""Where cases are tried: a namespace of a tenant, two identities, and keys that are imported as needed.

The keeper makes and imports keys, the verifier uses them; neither may do what the other does.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from blindfold.secret import SecretBytes
from kms.client import transfers
from kms.client.api import Api
from kms.client.errors import CallFailed, from_status
from kms.client.transfers import ImportKey
from kms.crypto.key_wrapping import Recipient
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName, NamespaceName
from protos.kms.v1 import crypto_batch_pb2, key_service_pb2
from protos.kms.v1.key_pb2 import Key, KeyAlgorithm, KeyPurpose

BATCH_ITEMS = 1000
IMPORTS_OF_A_KEY = 1000
# Below the 4 MiB of a request, with room for the largest item.
BATCH_BYTES = 3 << 20


@dataclass(frozen=True, slots=True)
class Bench:
    """`policy` lets the keeper import, and the verifier use, whatever key it is given to.

    Threads may share it. All methods raise `CallFailed`.
    """

    keeper: Api
    verifier: Api
    namespace: NamespaceName
    policy: KmsPolicyName
    _threads: threading.local = field(default_factory=threading.local, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    _keys: list[KeyName] = field(default_factory=list, repr=False)

    @property
    def keys(self) -> Sequence[KeyName]:
        """Those that were made so far."""
        return tuple(self._keys)

    def new_key(self, algorithm: str, purpose: Purpose | None = None) -> KeyName:
        """A key that waits for an import. `purpose` is by default the first one that the algorithm serves."""
        purpose = purpose or next(item for item in Purpose if item in ALGORITHMS[algorithm].purposes)
        key = Key(
            purpose=KeyPurpose.Value(f"KEY_PURPOSE_{purpose}"),
            algorithm=KeyAlgorithm.Value(f"KEY_ALGORITHM_{algorithm}"),
            kms_policy=str(self.policy),
        )
        request = key_service_pb2.CreateKeyRequest(
            parent=str(self.namespace), key_id=f"v{next(self._numbers)}", key=key, skip_initial_version=True
        )
        made = KeyName.parse(self.keeper.exchange("KeyService", "CreateKey", request, Key).name)
        self._keys.append(made)
        return made

    def import_key(self) -> ImportKey:
        return transfers.create_import_key(self.keeper, self.namespace)

    def imported(self, algorithm: str, material: bytes, purpose: Purpose | None = None) -> KeyVersionName:
        """The primary version of a new key, with the vector's material."""
        return self.import_material(self.new_key(algorithm, purpose), material, make_primary=True)

    def import_material(self, key: KeyName, material: bytes, *, make_primary: bool) -> KeyVersionName:
        """Towards an import key of this thread's own: making one takes the KMS longer than a case."""
        towards, left = getattr(self._threads, "import_key", (None, 0))
        if towards is None or not left:
            towards = transfers.create_import_key(self.keeper, self.namespace, IMPORTS_OF_A_KEY)
            left = IMPORTS_OF_A_KEY
        self._threads.import_key = (towards, left - 1)
        wrapped = Recipient(towards.public_key).wrap(SecretBytes(material))
        return transfers.import_wrapped(self.keeper, key, towards.name, wrapped, make_primary=make_primary)

    def import_wrapped(self, key: KeyName, towards: ImportKey, wrapped: bytes) -> KeyVersionName:
        return transfers.import_wrapped(self.keeper, key, towards.name, wrapped, make_primary=True)

    def import_public(self, key: KeyName, public_key: bytes) -> KeyVersionName:
        return transfers.import_public_key(self.keeper, key, public_key)

    def batch(self, operation: str, key: KeyName, items: Sequence[Message]) -> list[Any]:
        """The answer to each item, or the `CallFailed` that stands in its place, in order."""
        results: list[Any] = []
        for part in _parts(items):
            request = getattr(crypto_batch_pb2, f"Batch{operation}Request")(name=str(key), requests=part)
            kind: Any = getattr(crypto_batch_pb2, f"Batch{operation}Response")
            answer = self.verifier.exchange("CryptoService", f"Batch{operation}", request, kind)
            results += [
                from_status(item.error) if item.HasField("error") else item.response
                for item in answer.results
            ]
        if len(results) != len(items):
            raise CallFailed(f"the KMS gave {len(results)} answers to {len(items)} items")
        return results


def _parts(items: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """As many as one request may hold, in order."""
    start = size = 0
    for index, item in enumerate(items):
        length = item.ByteSize()
        if index > start and (index - start == BATCH_ITEMS or size + length > BATCH_BYTES):
            yield items[start:index]
            start, size = index, 0
        size += length
    yield items[start:]
