"""Directories, processes and words of the demo."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
START_LIMIT = 20.0


class Failed(Exception):
    """Something that must hold does not."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


@dataclass
class World:
    """Everything is below `directory`, which is removed at the end."""

    directory: Path
    steps: int = field(default=0)

    def say(self, text: str) -> None:
        """One line for a step that has succeeded."""
        self.steps += 1
        print(f"{self.steps:2}. {text}", flush=True)

    def path(self, name: str) -> Path:
        return self.directory / name

    def environment(self, identity: str = "", **more: str) -> dict[str, str]:
        """A caller's own: his home and his credentials, nothing of whoever runs the demo but the PATH."""
        home = self.path(f"home-{identity or 'nobody'}")
        home.mkdir(exist_ok=True)
        variables = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8"}
        if identity:
            variables["BLINDFOLD_CREDENTIALS"] = str(self.path("credentials") / identity)
        return variables | more

    def run(
        self,
        *command: str | Path,
        identity: str = "",
        expect: int = 0,
        input_: bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """The command's standard output. Its exit code must be the expected one."""
        result = subprocess.run(
            [str(word) for word in command],
            env=self.environment(identity) | dict(env or {}),
            input=b"" if input_ is None else input_,
            capture_output=True,
            cwd=self.directory,
            check=False,
        )
        if result.returncode != expect:
            words = " ".join(str(word) for word in command)
            complaint = result.stderr.decode(errors="replace")
            raise Failed(f"`{words}` ended with {result.returncode}, not {expect}:\n{complaint}")
        return result.stdout

    def json(self, *command: str | Path, identity: str = "") -> Any:
        return json.loads(self.run(*command, "--json", identity=identity))


@contextmanager
def served(world: World, data: Path, record: Path, log: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The KMS in a process of its own: its process id, and where it listens."""
    environment = world.environment(DEMO_RECORD=str(record), PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "demo.recording_server", "serve", "--data", str(data), "--json"]
    with log.open("wb") as words:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=words)
    try:
        yield process.pid, _ready(process)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


def _ready(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101
    line = process.stdout.readline()
    if not line:
        raise Failed("the KMS did not start; see its log")
    ports: dict[str, Any] = json.loads(line)
    return ports


def wait_for(port_open: Any, what: str) -> None:
    """Call until it returns true."""
    end = time.monotonic() + START_LIMIT
    while not port_open():
        if time.monotonic() > end:
            raise Failed(f"{what} did not come up")
        time.sleep(0.05)
