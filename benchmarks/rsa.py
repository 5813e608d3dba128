"""RSA-PSS signatures and RSA-OAEP decryptions of 3072 bits by a real server on one core, beside OpenSSL.

By processor time: the server's, and that of this process for the bare operation with a key of the same size.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.empty_server import SERVICE
from benchmarks.encryption import empty, unary_rate
from benchmarks.figure import Figure, at_least, shown
from benchmarks.load import Load
from benchmarks.server import Prepared, Running, add_key, opened, prepare, serving
from kms.crypto.key_handle import expect, generate, load
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.model.algorithms import ALGORITHMS, Purpose
from protos.kms.v1 import crypto_batch_pb2 as batch
from protos.kms.v1 import crypto_pb2 as pb

BATCH = 100
BATCHES, CALLS, BARE = 12, 512, 600
ROUNDS = 3
BATCH_SHARE = 0.95
UNARY_SHARE = 0.75
MESSAGE = b"m" * 256
SIGN, OAEP = "RSA_PSS_3072_SHA256", "RSA_OAEP_3072_SHA256"


def measure() -> list[Figure]:
    """Operations for each second of processor time. Takes about a minute."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        with empty(path / "empty", {0}) as nothing:
            call = max(unary_rate(nothing, path / "empty", SERVICE) for _ in range(ROUNDS))
        prepared = prepare(path)
        with opened(prepared.configuration) as parts:
            signer = str(asyncio.run(add_key(parts, "signer", Purpose.ASYMMETRIC_SIGN, SIGN)))
            reader = str(asyncio.run(add_key(parts, "reader", Purpose.ASYMMETRIC_DECRYPT, OAEP)))
        sign, decrypt = bare_operations()
        with serving(prepared, cpus={0}) as running:
            ciphertext = asyncio.run(encrypted(running, prepared, reader))
            signing = pb.SignRequest(name=signer, message=MESSAGE)
            opening = pb.AsymmetricDecryptRequest(name=reader, ciphertext=ciphertext)
            turns = [
                (
                    rate(sign),
                    *served(running, prepared, "Sign", signing),
                    rate(decrypt),
                    *served(running, prepared, "AsymmetricDecrypt", opening),
                )
                for _ in range(ROUNDS)
            ]
    bare_sign, signed, signed_batch, bare_decrypt, opened_, opened_batch = (
        max(rates) for rates in zip(*turns, strict=True)
    )
    return [
        at_least(f"RSA-PSS 3072 signatures, batch of {BATCH}", signed_batch, bare_sign, "1/s", BATCH_SHARE),
        at_least("RSA-PSS 3072 signatures, unary", signed, bare_sign, "1/s", UNARY_SHARE),
        shown("... beside an operation and an empty call", signed, "1/s", both(bare_sign, call)),
        at_least(
            f"RSA-OAEP 3072 decryptions, batch of {BATCH}", opened_batch, bare_decrypt, "1/s", BATCH_SHARE
        ),
        at_least("RSA-OAEP 3072 decryptions, unary", opened_, bare_decrypt, "1/s", UNARY_SHARE),
        shown("... beside an operation and an empty call", opened_, "1/s", both(bare_decrypt, call)),
    ]


def both(operations: float, calls: float) -> float:
    """The rate of calls that do nothing but one operation, from the rates of each."""
    return 1 / (1 / operations + 1 / calls)


def bare_operations() -> tuple[Callable[[], object], Callable[[], object]]:
    pss = expect(load(ALGORITHMS[SIGN], generate(ALGORITHMS[SIGN]).material), PssKey)
    oaep = expect(load(ALGORITHMS[OAEP], generate(ALGORITHMS[OAEP]).material), OaepKey)
    ciphertext = oaep.encrypt(MESSAGE[:32])
    return lambda: pss.sign(MESSAGE), lambda: oaep.decrypt(ciphertext)


def rate(operation: Callable[[], object]) -> float:
    operation()
    start = time.process_time()
    for _ in range(BARE):
        operation()
    return BARE / (time.process_time() - start)


async def encrypted(running: Running, prepared: Prepared, name: str) -> bytes:
    load = Load(running, prepared.user_credentials, "AsymmetricEncrypt", [])
    request = pb.AsymmetricEncryptRequest(name=name, plaintext=MESSAGE[:32])
    answer: pb.AsymmetricEncryptResponse = await load.once(request)
    return answer.ciphertext


def served(running: Running, prepared: Prepared, method: str, request: Any) -> tuple[float, float]:
    """Unary, and in batches."""
    unary = Load(running, prepared.user_credentials, method, [request])
    many = getattr(batch, f"Batch{method}Request")(name=request.name)
    single = type(request).FromString(request.SerializeToString())
    single.ClearField("name")
    many.requests.extend([single] * BATCH)
    batches = Load(running, prepared.user_credentials, f"Batch{method}", [many])
    return (
        asyncio.run(unary.calls_per_cpu_second(CALLS)),
        BATCH * asyncio.run(batches.calls_per_cpu_second(BATCHES, 2)),
    )
