"""Raw ciphertexts of other systems moved to a key here (docs/spec/ciphertext.md, "Raw ciphertexts")."""

from collections.abc import Sequence
from dataclasses import dataclass

from kms.client.api import Api
from kms.client.errors import CallFailed, from_status
from kms.model.names import KeyName
from protos.kms.v1 import crypto_batch_pb2 as batch
from protos.kms.v1 import crypto_pb2 as pb


@dataclass(frozen=True, slots=True)
class RawItem:
    """Nonce || ciphertext || tag under a version, with the additional data of the old and the new one."""

    version: int
    data: bytes
    aad: bytes = b""
    new_aad: bytes = b""


def move_raw(
    api: Api, source: KeyName, destination: KeyName, items: Sequence[RawItem]
) -> list[bytes | CallFailed]:
    """A ciphertext of destination for each item, or why there is none.

    Raises `CallFailed` where no item was looked at.
    """
    requests = [
        pb.ReEncryptRequest(
            name=f"{source}/versions/{item.version}",
            ciphertext=item.data,
            additional_authenticated_data=item.aad,
            destination_additional_authenticated_data=item.new_aad,
        )
        for item in items
    ]
    request = batch.BatchReEncryptRequest(name=str(source), destination=str(destination), requests=requests)
    answer = api.exchange("CryptoService", "BatchReEncrypt", request, batch.BatchReEncryptResponse)
    if len(answer.results) != len(items):
        raise CallFailed(f"the KMS gave {len(answer.results)} answers to {len(items)} requests")
    return [
        from_status(result.error) if result.WhichOneof("result") == "error" else result.response.ciphertext
        for result in answer.results
    ]
