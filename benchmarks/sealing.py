"""Sealing and opening one large secret, beside AES-256-GCM alone over the same chunks, source and sink."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from benchmarks.figure import Figure, at_least, at_most
from blindfold import BlindRequest, begin_open, open_unfinished_stream, seal_stream
from blindfold._primitives import AESGCM
from blindfold.evaluation import Evaluator
from blindfold.exponent import binding_info, derive_exponent
from blindfold.private_key import PrivateKey
from blindfold.stream import CHUNK, TAG, nonce
from testvectors import material

SHARE_OF_RAW = 1 / 1.15
GROWTH_MIB = 32
MIB = 1 << 20


class Discard:
    """A sink that costs nothing, so that the cipher's share shows."""

    def write(self, data: bytes, /) -> int:
        return len(data)


def measure(mib: int = 1024, rounds: int = 5) -> list[Figure]:
    """MiB a second with a 3072-bit key, and how far memory grows. 1 GiB takes 20 seconds, 3 GiB of disk."""
    with tempfile.TemporaryDirectory() as directory:
        plain, sealed, raw = (Path(directory) / name for name in ("plain", "plain.sealed", "raw"))
        write_plain(plain, mib)
        with plain.open("rb") as source, sealed.open("wb") as sink:
            seal_stream(source, sink, material.key("full"), material.policy())
        with plain.open("rb") as source, raw.open("wb") as sink:
            encrypt_raw(source, sink)
        # In turns, and the best of each: what else the machine does can only slow a round down.
        work = ((encrypt_raw, plain), (seal, plain), (decrypt_raw, raw), (unseal, sealed))
        turns = [[mib / seconds(function, path) for function, path in work] for _ in range(rounds)]
        raw_out, seal_rate, raw_in, open_rate = (max(rates) for rates in zip(*turns, strict=True))
        return [
            at_least(f"seal {mib} MiB", seal_rate, raw_out, "MiB/s", SHARE_OF_RAW),
            at_least(f"open {mib} MiB", open_rate, raw_in, "MiB/s", SHARE_OF_RAW),
            growth(f"memory growth of sealing {mib} MiB", "seal", plain),
            growth(f"memory growth of opening {mib} MiB", "open", sealed),
        ]


def write_plain(path: Path, mib: int) -> None:
    piece = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(piece)


def seconds(work: Callable[[BinaryIO, Discard], float], path: Path) -> float:
    """Of work from a file in the page cache to nowhere, less the seconds that it returns."""
    with path.open("rb") as source:
        start = time.perf_counter()
        waited = work(source, Discard())
        return time.perf_counter() - start - waited


def encrypt_raw(source: BinaryIO, sink: Discard | BinaryIO) -> float:
    aead, counter = AESGCM(bytes(32)), 0
    while chunk := source.read(CHUNK):
        sink.write(aead.encrypt(nonce(counter, last=False), chunk, None))
        counter += 1
    return 0


def decrypt_raw(source: BinaryIO, sink: Discard) -> float:
    aead, counter = AESGCM(bytes(32)), 0
    while chunk := source.read(CHUNK + TAG):
        sink.write(aead.decrypt(nonce(counter, last=False), chunk, None))
        counter += 1
    return 0


def seal(source: BinaryIO, sink: Discard) -> float:
    seal_stream(source, sink, material.key("full"), material.policy())
    return 0


def unseal(source: BinaryIO, sink: Discard) -> float:
    """Returns the seconds in which a client would wait for the KMS."""
    request, state = begin_open(source, material.key("full"))
    asked = time.perf_counter()
    answer = answer_of_a_kms(request)
    waited = time.perf_counter() - asked
    for piece in open_unfinished_stream(state, answer):
        sink.write(piece)
    return waited


def answer_of_a_kms(request: BlindRequest) -> bytes:
    key = PrivateKey(*material.primes("full"))
    info = binding_info(request.tenant, request.key_version, request.binding, request.binding_value)
    return Evaluator(key).evaluate(request.element, derive_exponent(int(key.n), info))


def growth(name: str, verb: str, path: Path) -> Figure:
    """Measured in a process of its own, between a small secret and the large one."""
    command = [sys.executable, "-m", "benchmarks.sealing", "--grow", verb, str(path)]
    value = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return at_most(name, value, "MiB", GROWTH_MIB)


def grow(verb: str, path: Path) -> float:
    """MiB by which the most memory this process ever held rises while it works through a file."""
    work = {"seal": seal, "open": unseal}[verb]
    with tempfile.TemporaryDirectory() as directory:
        small = Path(directory) / "small"
        write_plain(small, 0)
        if verb == "open":
            with small.open("rb") as source, (Path(directory) / "small.sealed").open("wb") as sink:
                seal_stream(source, sink, material.key("full"), material.policy())
            small = Path(directory) / "small.sealed"
        seconds(work, small)
    before = high_water_mark()
    seconds(work, path)
    return high_water_mark() - before


def high_water_mark() -> float:
    """MiB. From /proc, since `ru_maxrss` counts what the parent held before this program began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sealing")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--grow", nargs=2, metavar=("VERB", "FILE"))
    options = parser.parse_args()
    if options.grow:
        print(grow(options.grow[0], Path(options.grow[1])))
        return
    for item in measure(options.mib):
        print(item)


if __name__ == "__main__":
    main()
