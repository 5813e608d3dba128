"""A desk: a private home, signed documents dated today, and a way to call the programs."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from click.testing import CliRunner, Result

from blindfold import Bundle, Delegation, KeyDocument, PolicyDocument, begin_open, finish_open
from blindfold._primitives import ed25519_public_key
from blindfold.documents import document_exponent
from cli import blindfold
from testvectors import material

DAY = timedelta(days=1)
ROOT = Path(__file__).parents[2]
KEY = material.key("full")
POLICY = material.policy()
SIGNER = material.seeded("signer", 32)
CALL = "from cli.blindfold import main; main()"


def signed(
    document: KeyDocument | PolicyDocument,
    *,
    tenant: str | None = None,
    root: bytes | None = None,
    signer: bytes = SIGNER,
    issued: timedelta = -DAY,
    life: timedelta = 7 * DAY,
) -> Bundle:
    """A bundle whose dates count from now."""
    now = datetime.now(UTC)
    delegation = Delegation.sign(
        root or material.root_seed(),
        type_=document.TYPE,
        tenant=tenant or document.tenant,
        key=ed25519_public_key(SIGNER),
        not_before=now - 90 * DAY,
        not_after=now + 90 * DAY,
    )
    return Bundle.sign(signer, document, delegation, issued_at=now + issued, not_after=now + issued + life)


@dataclass(frozen=True)
class Desk:
    path: Path
    environment: dict[str, str]

    def file(self, name: str, data: bytes | str) -> Path:
        path = self.path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def bundle(self, name: str, document: KeyDocument | PolicyDocument, **how: Any) -> Path:
        return self.file(name, signed(document, **how).to_bytes() + b"\n")

    @property
    def memory(self) -> Path:
        return self.path / "state" / "blindfold" / "seen.json"

    @property
    def sealing(self) -> list[str]:
        """Arguments that seal to the desk's own documents, the root that is trusted last."""
        return [
            *("seal", "--public-key", str(self.path / "tenant.key")),
            *("--policy-document", str(self.path / "web-tls.policy"), "--policy", POLICY.resource_name),
            *("--trust-key", material.trust()),
        ]

    def call(self, *arguments: object, stdin: bytes | None = None, **environment: str) -> Result:
        """`blindfold` inside this process."""
        return CliRunner().invoke(
            blindfold.program, [str(item) for item in arguments], input=stdin, env=environment
        )

    def seal(self, *arguments: object, stdin: bytes | None = None) -> Result:
        return self.call(*self.sealing, *arguments, stdin=stdin)

    def process(
        self, *arguments: object, variables: Mapping[str, str] = MappingProxyType({}), **settings: Any
    ) -> "subprocess.CompletedProcess[bytes]":
        """`blindfold` as a process of its own."""
        command = [sys.executable, "-c", CALL, *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environment, **variables},
            capture_output=True,
            timeout=60,
            check=False,
            **settings,
        )


def opened(sealed: bytes, key: KeyDocument = KEY, policy: PolicyDocument = POLICY) -> bytes:
    """What an honest KMS would help to open."""
    request, state = begin_open(sealed, key)
    answer = material.root_of(request.element, "full", document_exponent(key, policy))
    return finish_open(state, answer).reveal()
