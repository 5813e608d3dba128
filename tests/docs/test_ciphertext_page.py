"""docs/spec/ciphertext.md: its example is computed anew, its limits are those of the code, its commands run.

`python -m tests.docs.test_ciphertext_page` prints the block that the page must hold.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindfold._primitives import AESGCM
from blindfold.secret import SecretBytes
from kms.crypto import aead, ciphertext, key_wrapping, mac
from kms.crypto.ciphertext import VersionCipher, parse
from kms.crypto.key_handle import accept_private, expect, load
from kms.crypto.key_wrapping import Unwrapper
from kms.model.algorithms import ALGORITHMS, MAX_AAD, MAX_PLAINTEXT, Family
from kms.model.names import KeyVersionName
from tests.docs.pages import assert_rules_are_numbered, example, limits, render
from testvectors.kms_material import AAD, HERE, PLAINTEXT, kwp
from testvectors.kms_wrapping import MATERIAL, ephemeral, recipient
from testvectors.material import seeded

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/spec/ciphertext.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
LIMITS = limits(PAGE)
NAME_WIDTH = 15
NONCE = seeded("kms nonce", 12)


def cipher() -> VersionCipher:
    key = expect(load(ALGORITHMS[HERE.algorithm], SecretBytes(HERE.key)), aead.AeadKey)
    return VersionCipher(key, KeyVersionName.parse(f"{HERE.key_name}/versions/{HERE.version}"), HERE.uid)


def fields() -> Iterator[tuple[str, str]]:
    """Names and values in the order of the page."""
    made = cipher()._encrypt_with(PLAINTEXT, AAD, nonce=NONCE)
    yield "key name", HERE.key_name
    yield "version", str(HERE.version)
    yield "algorithm", HERE.algorithm
    yield "uid", HERE.uid.hex()
    yield "key", HERE.key.hex()
    yield "nonce", NONCE.hex()
    yield "caller's AAD", AAD.hex()
    yield "plaintext", PLAINTEXT.hex()
    yield "bound", cipher()._bound(AAD).hex()
    yield "ciphertext", made[33:-16].hex()
    yield "tag", made[-16:].hex()
    yield "all", made.hex()
    yield "ephemeral key", ephemeral().hex()
    yield "material", MATERIAL.hex()
    yield "AES-KWP part", kwp(ephemeral(), MATERIAL).hex()


def test_page_holds_the_example_that_the_library_computes() -> None:
    assert example(PAGE) == render(fields(), NAME_WIDTH)


def test_the_formulas_of_the_page_give_the_same_bytes() -> None:
    name, algorithm = HERE.key_name.encode(), HERE.algorithm.encode()
    bound = b"\x01" + len(name).to_bytes(2, "big") + name + HERE.version.to_bytes(4, "big")
    bound += len(algorithm).to_bytes(2, "big") + algorithm + len(AAD).to_bytes(4, "big") + AAD
    sealed = AESGCM(HERE.key).encrypt(NONCE, PLAINTEXT, bound)
    whole = b"\x01" + HERE.uid + HERE.version.to_bytes(4, "big") + NONCE + sealed
    assert cipher()._encrypt_with(PLAINTEXT, AAD, nonce=NONCE) == whole
    assert cipher().decrypt(parse(whole), AAD) == PLAINTEXT


def test_the_example_is_of_the_first_vectors() -> None:
    values = dict(fields())
    first, wrapped = (
        json.loads((ROOT / "testvectors/kms" / name).read_text())["tests"][0]
        for name in ("ciphertext.json", "key_wrapping.json")
    )
    assert (first["ciphertext"], first["plaintext"]) == (values["all"], values["plaintext"])
    assert wrapped["material"] == values["material"]
    assert wrapped["wrapped"].endswith(values["AES-KWP part"])


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("plaintext, and message to sign or authenticate", f"{MAX_PLAINTEXT:,} bytes"),
        ("additional authenticated data, and OAEP label", f"{MAX_AAD:,} bytes"),
        ("ciphertext", f"{ciphertext.MAX_CIPHERTEXT:,} bytes"),
        ("material that is wrapped", f"{key_wrapping.MAX_MATERIAL:,} bytes"),
    ],
)
def test_limit_is_that_of_the_code(what: str, limit: str) -> None:
    assert LIMITS[what] == limit


@pytest.mark.parametrize(
    "stated",
    [
        f"refuse fewer than {ciphertext.OVERHEAD} bytes",
        f"| {ciphertext.UID_SIZE} | the key's uid |",
        f"have {aead.NONCE_SIZE} bytes and tags {aead.TAG_SIZE}",
        f"{mac.MIN_IMPORTED_KEY} to {mac.MAX_IMPORTED_KEY} |",
        f"codes have all {mac.MAC_SIZE} bytes",
        "RSA of {} or {} bits".format(*key_wrapping.RECIPIENT_BITS),
        f"{key_wrapping.EPHEMERAL_SIZE} random bytes, used once",
        f"The nonce is {key_wrapping.PROOF_NONCE_SIZE} random bytes",
    ],
)
def test_number_in_the_text_is_that_of_the_code(stated: str) -> None:
    assert stated in TEXT


def test_every_algorithm_is_on_the_page() -> None:
    assert "bits are 2048, 3072 or 4096, the hash SHA256, SHA384 or SHA512" in TEXT
    named = {"AES_256_GCM", "AES_128_GCM", "HMAC_SHA256"}
    for family in (Family.RSA_OAEP, Family.RSA_PSS):
        assert f"`{family}_{{bits}}_{{hash}}`" in PAGE
        named |= {f"{family}_{bits}_SHA{digest}" for bits in (2048, 3072, 4096) for digest in (256, 384, 512)}
    assert named == ALGORITHMS.keys()
    assert all(f"`{name}`" in PAGE for name in named if not name.startswith("RSA"))


def test_rules_are_numbered_in_their_order() -> None:
    assert_rules_are_numbered(PAGE)


def test_the_commands_of_the_page_wrap_a_key(tmp_path: Path) -> None:
    """They are run as printed."""
    commands = PAGE[PAGE.index("```\nopenssl rand") + 4 :]
    commands = commands[: commands.index("```")]
    assert shutil.which("openssl") is not None
    (tmp_path / "public.der").write_bytes(recipient().spki())
    (tmp_path / "material").write_bytes(MATERIAL)
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, check=True)
    unwrapped = Unwrapper(SecretBytes(recipient().pkcs8())).unwrap((tmp_path / "wrapped").read_bytes())
    assert accept_private(ALGORITHMS["AES_256_GCM"], unwrapped).material.reveal() == MATERIAL


if __name__ == "__main__":
    print(render(fields(), NAME_WIDTH), end="")  # noqa: T201
