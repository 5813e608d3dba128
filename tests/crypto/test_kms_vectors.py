"""Every case of testvectors/kms."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from blindfold.secret import SecretBytes
from kms import errors
from kms.client.envelope_cipher import EnvelopeCipher, _begin_with
from kms.client.operations import DataKey, Decrypted
from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import VersionCipher, parse
from kms.crypto.key_handle import accept_private, accept_public, expect, load
from kms.crypto.key_wrapping import Unwrapper
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyVersionName
from testvectors import kms_vectors

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "testvectors" / "kms"
PATHS = sorted(VECTORS.glob("*.json"))

Case = dict[str, Any]


def cases(name: str) -> list[Any]:
    file = json.loads((VECTORS / name).read_text())
    assert file["tests"], f"{name} holds no case"
    common = {key: file[key] for key in ("private_key",) if key in file}
    return [pytest.param(common | test, id=f"{test['tcId']}-{test['comment']}") for test in file["tests"]]


def octets(case: Case, field: str) -> bytes:
    return bytes.fromhex(case[field])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_file_keeps_its_closed_schema_and_counts_its_cases(path: Path) -> None:
    file = json.loads(path.read_text())
    jsonschema.validate(file, json.loads((ROOT / "testvectors/schemas" / file["schema"]).read_text()))
    assert file["numberOfTests"] == len(file["tests"])
    assert sum(test["result"] == "invalid" for test in file["tests"]) > file["numberOfTests"] / 2
    assert {flag for test in file["tests"] for flag in test["flags"]} == file["notes"].keys()


def test_generator_gives_the_files_that_are_checked_in() -> None:
    assert {path.name: path.read_text() for path in PATHS} == {
        name: file.text() for name, file in kms_vectors.generate().items()
    }


def refused(case: Case, attempt: Any) -> None:
    with pytest.raises(errors.KmsError) as caught:
        attempt()
    assert type(caught.value).__name__ == case["error"]
    assert caught.value.__context__ is None


@pytest.mark.parametrize("case", cases("ciphertext.json"))
def test_ciphertext(case: Case) -> None:
    key = expect(load(ALGORITHMS[case["algorithm"]], SecretBytes(octets(case, "key"))), AeadKey)
    cipher = VersionCipher(key, KeyVersionName.parse(case["name"]), octets(case, "uid"))
    aad = octets(case, "aad")

    def decrypt() -> bytes:
        return cipher.decrypt(parse(octets(case, "ciphertext")), aad)

    if case["result"] == "invalid":
        refused(case, decrypt)
    else:
        plaintext = octets(case, "plaintext")
        assert decrypt() == plaintext
        made = cipher._encrypt_with(plaintext, aad, nonce=octets(case, "nonce"))
        assert made == octets(case, "ciphertext")


@pytest.mark.parametrize("case", cases("key_wrapping.json"))
def test_key_wrapping(case: Case) -> None:
    unwrapper = Unwrapper(SecretBytes(octets(case, "private_key")))

    def unwrap() -> bytes:
        material = unwrapper.unwrap(octets(case, "wrapped"))
        return accept_private(ALGORITHMS[case["algorithm"]], material).material.reveal()

    if case["result"] == "invalid":
        refused(case, unwrap)
    else:
        assert unwrap() == octets(case, "material")


@pytest.mark.parametrize("case", cases("public_key.json"))
def test_public_key(case: Case) -> None:
    def accept() -> bytes:
        return accept_public(ALGORITHMS[case["algorithm"]], octets(case, "public_key"))

    if case["result"] == "invalid":
        refused(case, accept)
    else:
        assert accept() == octets(case, "public_key")


@dataclass(frozen=True)
class Unwrapping:
    """The KMS, as far as it decrypts data keys."""

    data_key: bytes
    version: str

    def run(self, name: str, request: Any) -> Any:
        assert self.version.startswith(f"{name}/versions/")
        return Decrypted(self.version, SecretBytes(self.data_key))


@pytest.mark.parametrize("case", cases("envelope.json"))
def test_envelope(case: Case) -> None:
    aad, data_key = octets(case, "aad"), octets(case, "data_key")
    client: Any = Unwrapping(data_key, case.get("name", f"{case['key']}/versions/3"))
    cipher = EnvelopeCipher(client, case["key"])

    def decrypt() -> bytes:
        return cipher.decrypt(octets(case, "envelope"), aad).reveal()

    if case["result"] == "invalid":
        refused(case, decrypt)
    else:
        plaintext = octets(case, "plaintext")
        assert decrypt() == plaintext
        made = DataKey(case["name"], octets(case, "wrapped"), SecretBytes(data_key))
        sink = io.BytesIO()
        with _begin_with(made, sink, aad, charge=lambda _: None, salt=octets(case, "salt")) as writer:
            writer.write(plaintext)
        assert sink.getvalue() == octets(case, "envelope")
