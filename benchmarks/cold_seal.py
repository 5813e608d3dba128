"""What one `blindfold seal` of 4 KiB costs, from a cold command line."""

import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.figure import Figure, at_most
from benchmarks.processor_time import of_program
from testvectors import material

TARGET_SECONDS = 0.25
SIZE = 4096


def measure(runs: int = 11) -> list[Figure]:
    """Seconds of processor time, the median of `runs`."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        files = {"key": material.bundle(material.key("full")), "policy": material.bundle(material.policy())}
        for name, bundle in files.items():
            (path / name).write_bytes(bundle.to_bytes())
        (path / "secret").write_bytes(os.urandom(SIZE))
        seal = [
            "-c", "from cli.blindfold import main; main()", "seal", "--allow-expired",
            "--public-key", str(path / "key"), "--policy-document", str(path / "policy"),
            "--policy", material.policy().resource_name,
            "--trust-key", material.trust(), "--state", str(path / "seen.json"),
            "--out", str(path / "sealed"), str(path / "secret"),
        ]  # fmt: skip
        value = statistics.median(of_program(seal) for _ in range(runs))
    return [at_most("blindfold seal of 4 KiB, processor time", value, "s", TARGET_SECONDS)]
