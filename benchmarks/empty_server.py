"""A grpc.aio server over mutual TLS with two methods: what a served call costs at least.

Encrypt does nothing. BatchEncrypt has each plaintext encrypted by AES-GCM, and does nothing else; its answers
are as long as a KMS's.
"""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import kms  # noqa: F401

# isort: split
import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.client.credentials import generate_key_pair, parse_credentials, write_credentials
from kms.crypto.aead import NONCE_SIZE, TAG_SIZE
from kms.crypto.ciphertext import OVERHEAD
from kms.identity.authority import ServerNames, create_intermediate, create_root
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.identity.issued import Issuer
from kms.identity.trust import TrustBundle
from kms.model.names import KeyVersionName, OperatorName
from kms.server.app import Limits
from kms.server.tls import ServerCertificate, main_credentials
from protos.kms.v1.crypto_batch_pb2 import BatchEncryptRequest, BatchEncryptResponse
from protos.kms.v1.crypto_pb2 import EncryptRequest, EncryptResponse

METHOD = "Encrypt"
BATCH_METHOD = "BatchEncrypt"
SERVICE = "bench.Empty"
# What a KMS's answers have besides: the name of the key version, and what a ciphertext begins with.
NAME = str(KeyVersionName("acme", "system", "bench", 1))
HEADER = bytes(OVERHEAD - NONCE_SIZE - TAG_SIZE)


async def serve(directory: Path) -> None:
    """Write a client's credentials, print the port, and answer until SIGTERM."""
    now = datetime.now(UTC)
    root = create_root("bench.test", now)
    issuer = Issuer(create_intermediate(root, now), TrustBundle((root.certificate,)))
    client, own = generate_key_pair(), generate_key_pair()
    issued = issuer.issue(verify_csr(client.csr), Grant(OperatorName("bench")), now)
    write_credentials(directory, parse_credentials(client.key_pem, issued.chain_pem, issued.trust_bundle_pem))
    bundle = issuer.issue_server(verify_csr(own.csr), ServerNames("bench", ("localhost",)), now)
    authorities = TrustBundle((root.certificate,), (issuer.authority.certificate,)).to_pem()
    certificate = ServerCertificate(own.key_pem, bundle.chain_pem, authorities)
    server = grpc.aio.server(options=Limits().to_options())
    server.add_generic_rpc_handlers((handlers(),))
    port = server.add_secure_port("localhost:0", main_credentials(lambda: certificate))
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"listen": f"localhost:{port}"}), flush=True)
    await stop.wait()
    await server.stop(1)


def handlers() -> grpc.GenericRpcHandler:
    async def nothing(request: EncryptRequest, context: object) -> EncryptResponse:
        return EncryptResponse()

    method = grpc.unary_unary_rpc_method_handler(
        nothing,
        request_deserializer=EncryptRequest.FromString,
        response_serializer=EncryptResponse.SerializeToString,
    )
    key = AESGCM(os.urandom(32))

    async def encrypt(request: BatchEncryptRequest, context: object) -> BatchEncryptResponse:
        response = BatchEncryptResponse()
        for item in request.requests:
            nonce = os.urandom(NONCE_SIZE)
            answer = response.results.add().response
            answer.name = NAME
            answer.ciphertext = (
                HEADER + nonce + key.encrypt(nonce, item.plaintext, item.additional_authenticated_data)
            )
        return response

    batch = grpc.unary_unary_rpc_method_handler(
        encrypt,
        request_deserializer=BatchEncryptRequest.FromString,
        response_serializer=BatchEncryptResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method, BATCH_METHOD: batch})


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
