"""The exponents of an independent implementation of the Internet-Draft: `@cloudflare/blindrsa-ts`.

The one test that uses a network beyond loopback: it lets npm fetch one package, of known content, and skips
where it cannot. With XDG_CACHE_HOME set the package is fetched once. Nothing of it is installed.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from blindfold import Binding, derive_exponent
from blindfold.exponent import binding_info
from testvectors import material

PACKAGE = "@cloudflare/blindrsa-ts@0.4.4"
TARBALL = "cloudflare-blindrsa-ts-0.4.4.tgz"
SHA512 = "EqMdFp4nTWZW+lAIg8RpMVgkMk2LfEC19JB05iZVE4QsuWfz1SNM8/sUD0ZeLeA6fO9bDkZEDjT2lJCBadx1dw=="
SCRIPT = Path(__file__).with_name("derive_exponents.mjs")


@dataclass(frozen=True)
class Case:
    n: int
    info: bytes


def modulus(bits: int) -> int:
    """A number of exactly that size; derivation does not ask for its factors."""
    return int.from_bytes(material.seeded(f"modulus {bits}", bits // 8), "big") | 3 << (bits - 2) | 1


def infos() -> list[bytes]:
    policies = [material.policy(binding=binding, name=name) for binding in Binding for name in ("a", "b-2")]
    tenants = [("acme", 1), ("a" * 63, (1 << 32) - 1)]
    return [
        binding_info(*tenant, policy.binding, policy.binding_value)
        for tenant in tenants
        for policy in policies
    ]


def cases() -> list[Case]:
    moduli = [modulus(2048), modulus(3072), modulus(4096)]
    moduli += [material.key(label).n for label in ("small", "full")]
    return [Case(n, info) for n in moduli for info in infos()]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked package, once its bytes are known to be the right ones."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    tarball = fetched(tmp_path_factory)
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    assert digest == SHA512, f"{tarball} is not {PACKAGE}"
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(tarball) as archive:
        archive.extractall(directory, filter="data")
    return directory / "package"


def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    directory = Path(cache) / "blindfold-kms" if cache else tmp_path_factory.mktemp("fetched")
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / TARBALL).exists():
        command = ["npm", "pack", PACKAGE, "--silent", "--ignore-scripts", "--fetch-retries=0"]
        try:
            subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip(f"npm cannot fetch {PACKAGE} here")
    return directory / TARBALL


def test_independent_implementation_derives_the_same_exponents(package: Path) -> None:
    asked = cases()
    result = subprocess.run(
        ["node", str(SCRIPT), str(package)],
        input=json.dumps([{"n": f"{case.n:x}", "info": case.info.hex()} for case in asked]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    theirs = [int(exponent, 16) for exponent in json.loads(result.stdout)]
    assert len(theirs) == len(asked) == 40
    assert theirs == [derive_exponent(case.n, case.info) for case in asked]
    assert len(set(theirs)) == len(theirs)
