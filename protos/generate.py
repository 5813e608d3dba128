"""Writes the Python of every .proto beside it: `python -m protos.generate`.

Compiled from the repository root, with grpcio-tools and mypy-protobuf. The same sources give the same bytes.
"""

import os
import subprocess
import sys
import sysconfig
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parent.parent


def generate(output: Path) -> None:
    """Compile all of protos/ into output, under the same folders.

    Raises `subprocess.CalledProcessError`; the compiler has then said why on stderr.
    """
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos").rglob("*.proto"))
    services = [source for source in sources if source.endswith("_service.proto")]
    _compile(sources, f"--python_out={output}", f"--mypy_out=quiet:{output}")
    _compile(services, f"--grpc_python_out={output}", f"--mypy_grpc_out=quiet:{output}")


def _compile(sources: list[str], *outputs: str) -> None:
    includes = [Path(), files("grpc_tools") / "_proto", sysconfig.get_path("purelib")]
    subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"--proto_path={include}" for include in includes),
            *outputs,
            *sources,
        ],
        cwd=ROOT,
        env=os.environ | {"PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.defpath])},
        check=True,
    )


if __name__ == "__main__":
    generate(ROOT)
