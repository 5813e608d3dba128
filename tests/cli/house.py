"""A house: a KMS in its own process, people who may call it, and ways to call the programs."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from desk import ROOT

from cli import blindfold, kms
from cli.program import Program

POLICY = {
    "rules": [
        {
            "name": "web servers",
            "action": "ALLOW",
            "client_selector": {"expressions": ["app=web"]},
        }
    ]
}
ADMIN = "tenants/acme/namespaces/system/identities/admin"
SERVE = "from cli.kms import main; main()"
SECRET = b"hunter2 hunter2"
# Nothing listens here: port 1 is privileged and long forgotten.
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: bytes
    words: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error of a call with --json."""
        return json.loads(self.words.splitlines()[-1])["error"]


@dataclass
class House:
    """`path` holds everything; `data` is the server's directory below it; `more` is in the environment."""

    path: Path
    made: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.path / "kms"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.path),
            "XDG_STATE_HOME": str(self.path / "state"),
            "BLINDFOLD_PROFILE": str(self.path / "profile.toml"),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
        } | self.more

    def variables(self, who: str) -> dict[str, str]:
        """The environment of a caller: credentials below `path`, the administrator's for ""."""
        return self.environment | ({"BLINDFOLD_CREDENTIALS": str(self.path / who)} if who else {})

    def process(self, program: str, *arguments: object, who: str = "", **settings: Any) -> Ended:
        """A program as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", f"from cli.{program} import main; main()", *map(str, arguments)],
            cwd=ROOT, env=self.variables(who), capture_output=True, timeout=120, check=False, **settings,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    def blindfold(self, *arguments: object, **how: Any) -> Ended:
        return self.process("blindfold", *arguments, **how)

    def kms(self, *arguments: object, who: str = "", stdin: bytes | None = None) -> Ended:
        """`kms` inside this process, which saves its start."""
        return self._inside(kms.program, arguments, who, stdin)

    def _inside(self, program: Program, arguments: Iterable[object], who: str, stdin: bytes | None) -> Ended:
        result = CliRunner().invoke(
            program, [str(item) for item in arguments], input=stdin, env=self.variables(who)
        )
        return Ended(result.exit_code, result.stdout_bytes, result.stderr)

    def must(self, program: str, *arguments: object, who: str = "", stdin: bytes | None = None) -> Any:
        """The JSON result of a call that has to be done, made inside this process."""
        programs = {"kms": kms.program, "blindfold": blindfold.program}
        ended = self._inside(programs[program], (*arguments, "--json"), who, stdin)
        assert ended.code == 0, ended.words
        return ended.json if ended.out else None

    def file(self, name: str, content: bytes | str | dict[str, Any]) -> Path:
        path = self.path / name
        if isinstance(content, dict):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def init(self, *arguments: object, stdin: bytes | None = None) -> None:
        listen = ("--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0")
        data = ("--data", self.data, "--tenant", "acme", "--json")
        ended = self.process("kms", "init", *data, *listen, *arguments, input=stdin)
        assert ended.code == 0, ended.words
        self.made = ended.json

    @contextmanager
    def served(self, *arguments: object, script: str = SERVE) -> Iterator["subprocess.Popen[bytes]"]:
        """A server of this house, its profile written anew; stopped at the end, if it runs still."""
        command = [sys.executable, "-c", script, "serve", "--json"]
        command += ["--data", str(self.data), *map(str, arguments)]
        with subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, process.communicate(timeout=30)[1].decode()
                self.addresses = json.loads(line)
                self._write_profile()
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)

    def _write_profile(self) -> None:
        values = {
            "server": self.addresses["listen"],
            "enrolment_server": self.addresses["enrolment_listen"],
            "credentials": self.made["admin_credentials"],
            "tenant": "acme",
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        self.file("profile.toml", "\n".join([*lines, f'trust_keys = ["{self.made["documents_root"]}"]', ""]))

    def enrol(self, identity: str, *arguments: object) -> str:
        """The directory, below `path`, with the credentials of a new identity."""
        name = identity.replace("/", "-")
        token = self.path / f"{name}.token"
        self.must("kms", "identity", "create-token", identity, *arguments, "--out", token)
        self.must("kms", "identity", "enrol", "--out", self.path / name, token)
        return name

    def policy(self, name: str, content: dict[str, Any] = POLICY) -> Path:
        """A new policy prod/{name}, and the file with its document."""
        self.must("kms", "secret-policy", "create", f"prod/{name}", self.file(f"{name}.json", content))
        return self.document(name)

    def document(self, name: str) -> Path:
        path = self.path / f"{name}.policy"
        self.must("blindfold", "policy-document", "get", f"prod/{name}", "--out", path)
        return path

    def seal(self, policy: Path, *arguments: object, secret: bytes = SECRET) -> bytes:
        """The sealed secret, in binary unless told otherwise."""
        documents = (
            *("--public-key", self.path / "acme.key", "--policy-document", policy),
            *("--policy", f"prod/{policy.stem}", "--no-state"),
        )
        ended = self._inside(blindfold.program, ("seal", *documents, *arguments), "", secret)
        assert ended.code == 0, ended.words
        return ended.out


def furnish(house: House) -> None:
    """Namespace prod, the identities prod/web and prod/db, policy prod/web-tls, and a key: 5 s or more."""
    key = house.must("kms", "blindfold-key", "generate")
    house.must("kms", "namespace", "create", "prod")
    house.enrol("prod/web", "--label", "app=web")
    house.enrol("prod/db", "--label", "app=db")
    house.policy("web-tls")
    deadline = time.monotonic() + 120
    while key["state"] != "ENABLED" and time.monotonic() < deadline:
        time.sleep(0.2)
        key = house.must("kms", "blindfold-key", "get", "1")
    house.must("blindfold", "public-key", "get", "--out", house.path / "acme.key")
