"""EvaluateBlinded by a real server over mutual TLS, with policy, audit, blinding and every check.

The server's processor time is what counts, so that the client is not the bottleneck. Beside it stands the
bare operation by the Chinese remainder theorem with the same key.

Single elements are asked for by 32 callers at once, and by one alone, who finds caches cold and threads
asleep: his figure has no target, since it is the machine's more than the server's.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figure import Figure, at_least, shown
from benchmarks.private_operation import bare_operation
from benchmarks.processor_time import of_process
from benchmarks.server import Prepared, Running, prepare, serving
from blindfold import _primitives, derive_exponent
from blindfold.private_key import PrivateKey
from kms.client.channel import open_channel
from protos.kms.v1.blindfold_service_pb2 import EvaluateBlindedRequest, EvaluateBlindedResponse
from testvectors import material

BATCH = 64
BATCH_SHARE = 0.78
SINGLE_SHARE = 0.60
CALLERS = 32
ROUNDS = 5


def measure() -> list[Figure]:
    """Evaluations for each second of processor time. Takes about a minute."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        with serving(prepared, cpus={0}) as running:
            turns = [
                (
                    bare_rate(),
                    served_rate(prepared, running, BATCH, 4),
                    served_rate(prepared, running, 1, 320, CALLERS),
                    served_rate(prepared, running, 1, 150),
                )
                for _ in range(ROUNDS)
            ]
    # The best of each: what else the machine does can only slow a round down.
    bare, batch, single, alone = (max(rates) for rates in zip(*turns, strict=True))
    return [
        at_least(f"EvaluateBlinded, batch of {BATCH}, one core", batch, bare, "1/s", BATCH_SHARE),
        at_least(f"EvaluateBlinded, single, over mTLS, {CALLERS} callers", single, bare, "1/s", SINGLE_SHARE),
        shown("EvaluateBlinded, single, over mTLS, 1 caller", alone, "1/s", bare),
    ]


def bare_rate(count: int = 200) -> float:
    key = PrivateKey(*material.primes("full"))
    operation = bare_operation(key, derive_exponent(int(key.n), b"benchmark"))
    elements = [random_element() for _ in range(count)]
    start = time.process_time()
    for element in elements:
        operation(element)
    return count / (time.process_time() - start)


def random_element() -> bytes:
    return int(_primitives.random_unit(material.key("full").n)).to_bytes(384, "big")


def served_rate(prepared: Prepared, running: Running, size: int, calls: int, callers: int = 1) -> float:
    """By the server's processor time, the first call left out."""
    with open_channel(running.target, prepared.credentials) as channel, ThreadPoolExecutor(callers) as pool:
        evaluate: Callable[[EvaluateBlindedRequest], EvaluateBlindedResponse] = channel.unary_unary(
            "/kms.v1.BlindfoldService/EvaluateBlinded",
            request_serializer=EvaluateBlindedRequest.SerializeToString,
            response_deserializer=EvaluateBlindedResponse.FromString,
        )
        requests = [request(prepared, size) for _ in range(calls + 1)]
        check(evaluate(requests.pop()), size)
        before = of_process(running.pid)
        for answer in pool.map(evaluate, requests):
            check(answer, size)
        return size * calls / (of_process(running.pid) - before)


def request(prepared: Prepared, size: int) -> EvaluateBlindedRequest:
    return EvaluateBlindedRequest(
        name="tenants/acme/blindfoldKeys/1",
        revision_digest=prepared.digest,
        elements=[random_element() for _ in range(size)],
    )


def check(response: EvaluateBlindedResponse, size: int) -> None:
    if [len(result.element) for result in response.results] != [384] * size:
        raise AssertionError("the server did not answer every element")
