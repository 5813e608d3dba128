"""What a type checker says of programs that use the client."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from pathlib import Path
from typing import assert_type

from blindfold import SecretBytes
from kms.client import operations as op
from kms.client.client import AsyncKmsClient, KmsClient
from kms.client.coalescing import AsyncCoalescer, Coalescer
from kms.client.errors import CallFailed

client = KmsClient("kms.example:7443", Path("credentials"))
together = Coalescer(client)
assert_type(client.encrypt("key", b"text", aad=b"aad"), op.Encrypted)
assert_type(client.decrypt("key", b"text").plaintext, SecretBytes)
assert_type(client.verify("key", message=b"m", signature=b"s"), op.Verified)
assert_type(client.batch("key", [op.Mac(b"m")]), list[op.MacCode | CallFailed])
assert_type(together.generate_data_key("key", byte_count=64), op.DataKey)


async def act(client: AsyncKmsClient, together: AsyncCoalescer) -> None:
    assert_type(await client.sign("key", digest=b"d"), op.Signature)
    assert_type(await client.batch("key", [op.Decrypt(b"c")]), list[op.Decrypted | CallFailed])
    assert_type(await together.get_public_key("key"), op.PublicKey)


client.encrypt("key", "text")  # arg-type
client.encrypt("key", b"text", add=b"aad")  # call-arg
client.encrypt(b"key", b"text")  # arg-type
client.mac_verify("key", b"m")  # call-arg
client.get_public_key("key", "PEM")  # arg-type
"""


@pytest.mark.slow
def test_answers_have_their_types_and_mistakes_are_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    checked = subprocess.run(
        [*command, str(program)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    lines = PROGRAM.splitlines()
    mistakes = {(number, line.split("# ")[1]) for number, line in enumerate(lines, 1) if "  # " in line}
    found = re.findall(r"^\S*program\.py:(\d+): error: .*\[([\w-]+)\]$", checked.stdout, re.MULTILINE)
    assert {(int(number), code) for number, code in found} == mistakes, checked.stdout
