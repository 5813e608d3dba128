"""Vector files: what their parsers make of each form, and that they end in cases or in one error."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.client.vectors.case import (
    Case,
    CiphertextCase,
    Expect,
    MacCase,
    OaepCase,
    Parsed,
    PssCase,
    PublicKeyCase,
    RawCase,
    Reason,
    VectorsUnreadable,
    WrappingCase,
)
from kms.client.vectors.files import VectorFile, find_below, find_in_packages, parse

OWN = Path(__file__).parents[2] / "testvectors"

GCM = """# CAVS 14.0
# GCM {verb} with keysize 128 test information

[Keylen = 128]
[IVlen = {iv_bits}]
[PTlen = 0]
[AADlen = 0]
[Taglen = {tag_bits}]

Count = 0
Key = cf063a34d4a9a76c2c86787d3f96db71
IV = 113b9785971864c83b01c787
CT =
AAD =
Tag = 72ac8493e3a5228b5d130a69d2510e42
{result}
"""
PSS = """# CAVS 11.0
# "SigVer PKCS#1 RSASSA-PSS" information
# Salt len: 10

[mod = 2048]

n = {n}

SHAAlg = {digest}
e = {e}
Msg = 00ff
S = {s}
SaltVal = {salt}
Result = {result}
"""


def read_files(paths: list[Path]) -> list[VectorFile]:
    return [found.read() for found in find_below(paths)]


def gcm(verb: str = "Decrypt", iv_bits: int = 96, tag_bits: int = 128, result: str = "PT = ") -> str:
    return GCM.format(verb=verb, iv_bits=iv_bits, tag_bits=tag_bits, result=result)


def pss(**changed: str) -> str:
    n = json.loads((OWN / "kms" / "public_key.json").read_text())["tests"][0]["public_key"][66:-10]
    values = {"n": n, "digest": "SHA256", "e": "010001", "s": "0a" * 256, "salt": "11" * 32, "result": "P"}
    return PSS.format(**(values | changed))


def wycheproof(algorithm: str, group: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    tests = [{"tcId": 1, "result": "valid", **test}]
    return {"algorithm": algorithm, "numberOfTests": 1, "testGroups": [{**group, "tests": tests}]}


AEAD_TEST = {"key": "00" * 16, "iv": "00" * 12, "aad": "", "msg": "", "ct": "", "tag": "00" * 16}
MAC_TEST = {"key": "00" * 32, "msg": "00", "tag": "00" * 32}
OAEP_GROUP = {"keySize": 2048, "sha": "SHA-256", "mgfSha": "SHA-256", "privateKeyPkcs8": "00"}
OAEP_TEST = {"ct": "00", "label": "", "msg": ""}
PSS_GROUP = {"keySize": 2048, "sha": "SHA-256", "mgfSha": "SHA-256", "sLen": 32, "publicKeyDer": "00"}
PSS_TEST = {"msg": "", "sig": "00"}
LONG = "00" * (64 * 1024 + 1)


@dataclass(frozen=True)
class Sample:
    """A file with one case, and what that is."""

    name: str
    file: dict[str, Any] | str
    found: type[Case] | Reason


SAMPLES = [
    Sample("AES-GCM", wycheproof("AES-GCM", {}, AEAD_TEST), RawCase),
    Sample("192 bits", wycheproof("AES-GCM", {}, AEAD_TEST | {"key": "00" * 24}), Reason.KEY_SIZE),
    Sample("IV of 64 bits", wycheproof("AES-GCM", {}, AEAD_TEST | {"iv": "00" * 8}), Reason.IV_SIZE),
    Sample("tag of 64 bits", wycheproof("AES-GCM", {}, AEAD_TEST | {"tag": "00" * 8}), Reason.TAG_SIZE),
    Sample("long", wycheproof("AES-GCM", {}, AEAD_TEST | {"msg": LONG, "ct": LONG}), Reason.LENGTH),
    Sample("AES-CCM", wycheproof("AES-CCM", {}, AEAD_TEST), Reason.ALGORITHM),
    Sample("HMAC", wycheproof("HMACSHA256", {}, MAC_TEST), MacCase),
    Sample("HMAC, short key", wycheproof("HMACSHA256", {}, MAC_TEST | {"key": "00" * 15}), Reason.KEY_SIZE),
    Sample("HMAC, short", wycheproof("HMACSHA256", {}, MAC_TEST | {"tag": "00" * 16}), Reason.SHORT_CODE),
    Sample("HMAC-SHA-1", wycheproof("HMACSHA1", {}, MAC_TEST), Reason.HASH),
    Sample("OAEP", wycheproof("RSAES-OAEP", OAEP_GROUP, OAEP_TEST), OaepCase),
    Sample("OAEP, SHA-1", wycheproof("RSAES-OAEP", OAEP_GROUP | {"sha": "SHA-1"}, OAEP_TEST), Reason.HASH),
    Sample(
        "OAEP, MGF1 with SHA-1",
        wycheproof("RSAES-OAEP", OAEP_GROUP | {"mgfSha": "SHA-1"}, OAEP_TEST),
        Reason.MASK_HASH,
    ),
    Sample(
        "OAEP, 1024 bits",
        wycheproof("RSAES-OAEP", OAEP_GROUP | {"keySize": 1024}, OAEP_TEST),
        Reason.KEY_SIZE,
    ),
    Sample(
        "OAEP, exponent 3",
        wycheproof("RSAES-OAEP", OAEP_GROUP | {"privateKey": {"publicExponent": "03"}}, OAEP_TEST),
        Reason.EXPONENT,
    ),
    Sample("PSS", wycheproof("RSASSA-PSS", PSS_GROUP, PSS_TEST), PssCase),
    Sample("PSS, no salt", wycheproof("RSASSA-PSS", PSS_GROUP | {"sLen": 0}, PSS_TEST), Reason.SALT_SIZE),
    Sample(
        "PSS with parameters",
        wycheproof("RSASSA-PSS", PSS_GROUP | {"type": "RsassaPssWithParametersVerify"}, PSS_TEST),
        Reason.PARAMETERS,
    ),
    Sample("CAVP, decryption", gcm(), RawCase),
    Sample("CAVP, encryption", gcm("Encrypt"), RawCase),
    Sample("CAVP, refused", gcm(result="FAIL"), RawCase),
    Sample("CAVP, PSS", pss(), PssCase),
    Sample("CAVP, PSS, SHA-1", pss(digest="SHA1"), Reason.HASH),
    Sample("CAVP, PSS, salt of 10", pss(salt="11" * 10), Reason.SALT_SIZE),
    Sample("CAVP, PSS, exponent 3", pss(e="3"), Reason.EXPONENT),
    Sample("CAVP, PSS, 8 bits", pss(n="ff"), Reason.KEY_SIZE),
    Sample("CAVP, another algorithm", "# MMT test data for CBC\n\nCOUNT = 0\n", Reason.ALGORITHM),
    Sample("JSON of something else", {"hello": []}, Reason.FORM),
]  # fmt: skip


def parsed(sample: Sample) -> Parsed:
    if isinstance(sample.file, str):
        return parse(sample.file, ".rsp")
    return parse(json.dumps(sample.file), ".json")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_case_is_read_or_counted_by_its_reason(sample: Sample) -> None:
    result = parsed(sample)
    if isinstance(sample.found, Reason):
        assert (result.cases, dict(result.unsupported)) == ((), {sample.found: 1})
    else:
        assert [type(case) for case in result.cases] == [sample.found]
        assert not result.unsupported


def test_every_reason_has_a_case_that_it_is_given_for() -> None:
    own = read_files([OWN])
    found = {reason for sample in SAMPLES for reason in parsed(sample).unsupported}
    found |= {reason for file in own for reason in file.parsed.unsupported}
    assert found == set(Reason)


def test_expectations_of_each_form() -> None:
    [decrypts] = parse(gcm(), ".rsp").cases
    [fails] = parse(gcm(result="FAIL"), ".rsp").cases
    [holds] = parse(pss(), ".rsp").cases
    [changed] = parse(pss(result="F (3 - Signature changed )"), ".rsp").cases
    assert [case.expect for case in (decrypts, fails, holds, changed)] == [
        Expect.VALID, Expect.INVALID, Expect.VALID, Expect.INVALID,
    ]  # fmt: skip
    assert decrypts.case_id == "Keylen 128, IVlen 96, PTlen 0, AADlen 0, Taglen 128, Count 0"


@pytest.mark.parametrize(
    ("file", "kind", "count", "unsupported"),
    [
        ("kms/ciphertext.json", CiphertextCase, 36, {}),
        ("kms/key_wrapping.json", WrappingCase, 54, {Reason.FOREIGN_KEY: 9}),
        ("kms/public_key.json", PublicKeyCase, 19, {}),
        ("blindfold/open.json", Case, 0, {Reason.OFFLINE: 64}),
    ],
)
def test_own_files(file: str, kind: type[Case], count: int, unsupported: dict[Reason, int]) -> None:
    [found] = read_files([OWN / file])
    assert (len(found.parsed.cases), dict(found.parsed.unsupported)) == (count, unsupported)
    assert all(isinstance(case, kind) for case in found.parsed.cases)


def test_invalid_ciphertexts_know_what_they_were_made_from() -> None:
    [file] = read_files([OWN / "kms" / "ciphertext.json"])
    cases = [case for case in file.parsed.cases if isinstance(case, CiphertextCase)]
    made = {case.case_id for case in cases if case.origin is not None}
    # 8 to 22 break the form, the length or a bit, 31 to 33 are given other AAD; the rest is bound elsewhere.
    assert made == {f"tcId {number}" for number in (*range(8, 23), 31, 32, 33)}


def test_installed_packages_hold_vectors_of_each_published_form() -> None:
    files = [found.read() for found in find_in_packages()]
    cases = [case for file in files for case in file.parsed.cases]
    assert {type(case) for case in cases} == {RawCase, OaepCase, PssCase}
    assert {Path(file.title).suffix for file in files if file.parsed.cases} == {".json", ".rsp"}
    assert len(cases) >= 3000


def test_packages_that_are_not_installed_hold_nothing() -> None:
    assert find_in_packages(["no_vectors_of_this_name"]) == []


BROKEN: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("numberOfTests", lambda file: file.update(numberOfTests=2)),
    ("algorithm", lambda file: file.update(algorithm=7)),
    ("testGroups", lambda file: file.update(testGroups=[1])),
    ("key", lambda file: file["testGroups"][0]["tests"][0].update(key="0")),
    ("the result", lambda file: file["testGroups"][0]["tests"][0].update(result="maybe")),
]


@pytest.mark.parametrize(("told", "spoil"), BROKEN, ids=[told for told, _ in BROKEN])
def test_a_file_that_breaks_its_form_is_refused(
    tmp_path: Path, told: str, spoil: Callable[[dict[str, Any]], object]
) -> None:
    file = wycheproof("AES-GCM", {}, AEAD_TEST)
    spoil(file)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(file))
    with pytest.raises(VectorsUnreadable, match=rf"broken\.json: .*{told}"):
        read_files([path])


@pytest.mark.parametrize(
    "changed",
    [{"algorithm": "AES_512"}, {"error": "Corrupt"}, {"tcId": "1"}, {"result": "acceptable"}, {"key": "zz"}],
    ids=str,
)
def test_own_file_with_a_value_that_is_none_is_refused(changed: dict[str, Any]) -> None:
    file = json.loads((OWN / "kms" / "ciphertext.json").read_text())
    file["tests"][7].update(changed)
    with pytest.raises(VectorsUnreadable):
        parse(json.dumps(file), ".json")


def sound(text: str, suffix: str) -> None:
    """Cases, reasons, or the one error."""
    try:
        found = parse(text, suffix)
    except VectorsUnreadable:
        return
    assert all(isinstance(case, Case) for case in found.cases)
    assert set(found.unsupported) <= set(Reason)


@given(st.text() | st.sampled_from(["[" * 100_000, "1" * 5_000]), st.sampled_from([".json", ".rsp"]))
def test_any_text_gives_cases_or_the_one_error(text: str, suffix: str) -> None:
    sound(text, suffix)


@given(st.data())
def test_any_changed_line_of_a_response_file_gives_cases_or_the_one_error(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from([gcm(), pss()])).splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    name = lines[index].partition("=")[0]
    lines[index] = data.draw(st.sampled_from([name, f"{name}= ", "", "Result = ", "n = 0", "n = "]))
    lines[index] += data.draw(st.text(max_size=20))
    sound("\n".join(lines), ".rsp")


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*at, key))


JSON_FILES = [sample.file for sample in SAMPLES if isinstance(sample.file, dict) and sample.name != "long"]
for name in ("ciphertext", "key_wrapping", "public_key"):
    whole = json.loads((OWN / "kms" / f"{name}.json").read_text())
    JSON_FILES.append(whole | {"tests": whole["tests"][:9:8], "numberOfTests": 2})

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("00"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.data(), JSON_VALUES)
def test_any_changed_value_of_a_json_file_gives_cases_or_the_one_error(
    data: st.DataObject, value: Any
) -> None:
    file = copy.deepcopy(data.draw(st.sampled_from(JSON_FILES)))
    *way, last = data.draw(st.sampled_from([path for path in paths(file) if path]))
    place: Any = file
    for key in way:
        place = place[key]
    place[last] = value
    sound(json.dumps(file), ".json")
