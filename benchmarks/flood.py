"""A caller that calls as often as it can, whatever it is told.

    python -m benchmarks.flood TARGET CREDENTIALS

Over several connections, on each about as many calls at a time as the server takes, and streams besides;
until it is ended. On standard output it says, once a second, how many calls passed and how many were refused.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported

# isort: split
import grpc

from benchmarks.server import KEY
from kms.client.channel import open_async_channel
from protos.kms.v1.crypto_pb2 import EncryptRequest
from protos.kms.v1.crypto_service_pb2 import StreamRequest
from protos.kms.v1.crypto_service_pb2_grpc import CryptoServiceStub

CONNECTIONS = 4
CALLS = 80
STREAMS = 4
REQUEST = EncryptRequest(name=str(KEY), plaintext=bytes(256))


async def flood(target: str, credentials: Path) -> None:
    counted: Counter[str] = Counter()
    channels = [open_async_channel(target, credentials) for _ in range(CONNECTIONS)]
    stubs = [CryptoServiceStub(channel) for channel in channels]
    callers = [call(stub, counted) for stub in stubs for _ in range(CALLS)]
    streams = [stream(stub, counted) for stub in stubs for _ in range(STREAMS)]
    await asyncio.gather(report(counted), *callers, *streams)


async def call(stub: CryptoServiceStub, counted: Counter[str]) -> None:
    while True:
        try:
            await stub.Encrypt(REQUEST)
            counted["passed"] += 1
        except grpc.RpcError:
            counted["refused"] += 1


async def stream(stub: CryptoServiceStub, counted: Counter[str]) -> None:
    async def messages() -> AsyncIterator[StreamRequest]:
        while True:
            yield StreamRequest(encrypt=REQUEST)

    while True:
        try:
            async for _ in stub.Stream(messages()):
                counted["passed"] += 1
        except grpc.RpcError:
            counted["refused"] += 1


async def report(counted: Counter[str]) -> None:
    while True:
        await asyncio.sleep(1)
        print(counted["passed"], counted["refused"], flush=True)
        counted.clear()


if __name__ == "__main__":
    asyncio.run(flood(sys.argv[1], Path(sys.argv[2])))
