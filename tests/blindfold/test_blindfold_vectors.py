"""Every case of testvectors/blindfold, and the Internet-Draft's own four."""

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import blindfold
from blindfold import errors
from blindfold._primitives import AESGCM
from blindfold.bundle import Bundle, parse_time
from blindfold.documents import KeyDocument, PolicyDocument
from blindfold.envelope import Metadata
from blindfold.evaluation import Evaluator
from blindfold.exponent import Binding, binding_info, derive_exponent
from blindfold.opening import _begin_open_with
from blindfold.private_key import PrivateKey
from blindfold.sealing import _seal_with
from blindfold.stream import decrypt, nonce

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "testvectors" / "blindfold"
DRAFT = ROOT.parent / "shared" / "vectors" / "partially-blind-rsa.json"
CLASSES = {cls.TYPE: cls for cls in (KeyDocument, PolicyDocument)}

Case = dict[str, Any]


def load(name: str) -> Case:
    file = json.loads((VECTORS / name).read_text())
    assert file["tests"], f"{name} holds no case"
    return file


def cases(name: str) -> list[Any]:
    file = load(name)
    common = {key: value for key, value in file.items() if key not in ("tests", "notes", "algorithm")}
    return [pytest.param(common | test, id=f"{test['tcId']}-{test['comment']}") for test in file["tests"]]


def error_of(case: Case) -> type[Exception]:
    return getattr(errors, case["error"])


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.name)
def test_file_keeps_its_closed_schema_and_counts_its_cases(path: Path) -> None:
    file = json.loads(path.read_text())
    jsonschema.validate(file, json.loads((ROOT / "testvectors" / "schemas" / file["schema"]).read_text()))
    assert file["numberOfTests"] == len(file["tests"])
    assert sum(test["result"] == "invalid" for test in file["tests"]) > file["numberOfTests"] / 2
    assert {flag for test in file["tests"] for flag in test["flags"]} == file["notes"].keys()


@pytest.mark.parametrize("case", cases("exponent.json"))
def test_exponent(case: Case) -> None:
    value = bytes.fromhex(case["binding_value"])
    info = binding_info(case["tenant"], case["key_version"], Binding(case["binding"]), value)
    derived = derive_exponent(int(case["n"], 16), info)
    matches = (info.hex(), f"{derived:x}") == (case["info"], case["exponent"])
    assert matches == (case["result"] == "valid")


@pytest.mark.parametrize("case", cases("documents.json"))
def test_document(case: Case) -> None:
    data = bytes.fromhex(case["document"])
    cls = CLASSES[case["type"]]
    if case["result"] == "invalid":
        with pytest.raises(error_of(case)):
            cls.parse(data)
        return
    document = cls.parse(data)
    assert document.to_bytes() == data
    if isinstance(document, PolicyDocument):
        assert document.digest.hex() == case["digest"]
        assert document.binding_value.hex() == case["binding_value"]
    else:
        assert document.fingerprint.hex() == case["fingerprint"]


@pytest.mark.parametrize("case", cases("bundles.json"))
def test_bundle(case: Case) -> None:
    bundle = Bundle.parse(case["bundle"].encode())
    assert bundle.to_bytes().decode() == case["bundle"]
    arguments: Any = {"trust": [case["trust"]], "now": parse_time(case["now"], "now")}
    if case["result"] == "invalid":
        with pytest.raises(error_of(case)):
            bundle.verify(CLASSES[case["type"]], **arguments)
    else:
        assert bundle.verify(CLASSES[case["type"]], **arguments).to_bytes() == bundle.document


def seal_case(case: Case) -> str:
    sink = io.BytesIO()
    secret = bytes.fromhex(case["secret"])
    _seal_with(
        io.BytesIO(secret),
        sink,
        KeyDocument.parse(case["key"].encode()),
        PolicyDocument.parse(case["policy"].encode()),
        metadata=Metadata(case["name"], case["content_type"], case["created"]),
        pad_to=len(secret) if case["pad"] else None,
        seed=bytes.fromhex(case["seed"]),
    )
    return sink.getvalue().hex()


@pytest.mark.parametrize("case", cases("seal.json"))
def test_seal(case: Case) -> None:
    if case["result"] == "invalid" and case["error"] != "Mismatch":
        with pytest.raises(error_of(case)):
            seal_case(case)
    else:
        assert (seal_case(case) == case["sealed"]) == (case["result"] == "valid")


@pytest.mark.parametrize("case", cases("evaluate.json"))
def test_evaluate(case: Case) -> None:
    evaluator = Evaluator(PrivateKey(int(case["p"], 16), int(case["q"], 16), test_only=True))
    element, exponent = bytes.fromhex(case["element"]), int(case["exponent"], 16)
    if case["result"] == "invalid":
        with pytest.raises(error_of(case)):
            evaluator.evaluate(element, exponent)
    else:
        assert evaluator.evaluate(element, exponent).hex() == case["answer"]


def open_case(case: Case) -> bytes:
    key = KeyDocument.parse(case["key"].encode())
    sealed = bytes.fromhex(case["sealed"])
    request, state = _begin_open_with(sealed, key, test_only=True, blind=int(case["r"], 16))
    if "element" in case:
        assert request.element.hex() == case["element"]
    return blindfold.finish_open(state, bytes.fromhex(case["answer"])).reveal()


@pytest.mark.parametrize("case", cases("open.json"))
def test_open(case: Case) -> None:
    if case["result"] == "invalid":
        with pytest.raises(errors.BlindfoldError) as caught:
            open_case(case)
        assert type(caught.value).__name__ == case["error"]
    else:
        assert open_case(case).hex() == case["secret"]


@pytest.mark.parametrize("case", cases("chunks.json"))
def test_chunks(case: Case) -> None:
    key = bytes.fromhex(case["payload_key"])
    payload = b"".join(
        AESGCM(key).encrypt(nonce(part["counter"], last=part["last"]), bytes(part["zeros"]), None)
        for part in case["chunks"]
    )
    if case["result"] == "invalid":
        with pytest.raises(error_of(case)):
            list(decrypt(key, io.BytesIO(payload)))
    else:
        assert b"".join(decrypt(key, io.BytesIO(payload))) == bytes(case["length"])


@pytest.mark.shared
def test_exponents_of_the_internet_draft() -> None:
    if not DRAFT.exists():
        pytest.skip(f"the Internet-Draft's vectors are not at {DRAFT}")
    vectors = json.loads(DRAFT.read_text())
    assert len(vectors) == 4
    for vector in vectors:
        exponent = derive_exponent(int(vector["n"], 16), bytes.fromhex(vector["info"]))
        assert f"{exponent:x}" == vector["eprime"].lstrip("0")


def test_generator_gives_the_files_that_are_checked_in() -> None:
    from testvectors.generate import generate

    for path, text in generate().items():
        assert path.read_text() == text, f"{path.name} differs; run make vectors"
