"""The labels-and-roles extension: one encoding for each meaning, and nothing else accepted."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms import errors
from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.extension import ATTRIBUTES_OID, Attributes, decode_attributes, encode_attributes
from testvectors import identity_vectors

ROOT = Path(__file__).parents[2]
FILE = json.loads((ROOT / "testvectors" / "identity" / "attributes.json").read_text())

KEYS = st.from_regex(
    r"([a-z]{1,8}\.[a-z]{1,8}/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,20}[A-Za-z0-9])?", fullmatch=True
)
VALUES = st.from_regex(r"([A-Za-z0-9]([-._A-Za-z0-9]{0,20}[A-Za-z0-9])?)?", fullmatch=True)
ROLES = st.from_regex(r"[a-z]([-a-z]{0,20}[a-z])?(@[a-z]([-a-z0-9]{0,20}[a-z0-9])?)?", fullmatch=True)


def is_ascii(text: str) -> bool:
    return text.isascii()


ATTRIBUTES = st.builds(
    Attributes,
    st.dictionaries(KEYS.filter(is_ascii), VALUES.filter(is_ascii), max_size=20),
    st.frozensets(ROLES.filter(is_ascii), max_size=20),
)


def test_vector_file_keeps_its_schema_and_is_what_its_generator_writes() -> None:
    schema = json.loads((ROOT / "testvectors" / "schemas" / FILE["schema"]).read_text())
    jsonschema.validate(FILE, schema)
    assert FILE["numberOfTests"] == len(FILE["tests"]) > 0
    written = {name: (ROOT / name).read_text() for name in identity_vectors.generate()}
    assert identity_vectors.generate() == written


@pytest.mark.parametrize("case", FILE["tests"], ids=lambda case: f"{case['tcId']}-{case['comment']}")
def test_vector(case: dict[str, Any]) -> None:
    der = bytes.fromhex(case["der"])
    if case["result"] == "invalid":
        with pytest.raises(getattr(errors, case["error"])):
            decode_attributes(der)
        return
    attributes = Attributes(case["labels"], frozenset(case["roles"]))
    assert decode_attributes(der) == attributes
    assert encode_attributes(attributes) == der


@given(ATTRIBUTES)
def test_what_is_encoded_decodes_to_the_same(attributes: Attributes) -> None:
    assert decode_attributes(encode_attributes(attributes)) == attributes


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_are_canonical(data: bytes) -> None:
    try:
        attributes = decode_attributes(data)
    except Unauthenticated:
        return
    assert encode_attributes(attributes) == data


@given(ATTRIBUTES, st.data())
def test_changed_bytes_are_refused_or_mean_something_else(
    attributes: Attributes, data: st.DataObject
) -> None:
    der = bytearray(encode_attributes(attributes))
    position = data.draw(st.integers(0, len(der) - 1))
    der[position] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode_attributes(bytes(der))
    except Unauthenticated:
        return
    assert changed != attributes
    assert encode_attributes(changed) == bytes(der)


def test_object_identifier_never_changes() -> None:
    assert ATTRIBUTES_OID.dotted_string == "2.25.73102073718537347948102012498668913508"


def test_attributes_are_refused_when_built_not_when_encoded() -> None:
    with pytest.raises(InvalidField, match="label value"):
        Attributes({"app": "not a value"})
    with pytest.raises(InvalidField, match="role@namespace"):
        Attributes(roles=frozenset({"Admin"}))
    with pytest.raises(LimitExceeded, match="65 labels"):
        Attributes({f"l{number}": "" for number in range(65)})
    with pytest.raises(LimitExceeded, match="65 roles"):
        Attributes(roles=frozenset(f"r@n{number}" for number in range(65)))


def test_label_prefix_has_at_most_253_characters() -> None:
    prefix = ".".join(["a" * 50] * 5)
    Attributes({f"{prefix[:253]}/app": ""})
    with pytest.raises(InvalidField, match="label key"):
        Attributes({f"{prefix[:252]}.b/app": ""})


def test_labels_are_read_only() -> None:
    given_labels = {"app": "web"}
    attributes = Attributes(given_labels)
    given_labels["app"] = "other"
    assert attributes.labels == {"app": "web"}
    with pytest.raises(TypeError):
        attributes.labels["app"] = "other"  # type: ignore[index]


def test_extension_above_8192_bytes_cannot_be_made() -> None:
    labels = {f"{'p' * 60}.{'q' * 60}/{number:02}": "v" * 63 for number in range(64)}
    with pytest.raises(LimitExceeded, match="8192"):
        encode_attributes(Attributes(labels))


def test_the_specification_shows_the_identifier_and_a_true_example() -> None:
    text = (ROOT / "docs" / "spec" / "identity.md").read_text()
    example = encode_attributes(Attributes({"app": "web"}, frozenset({"auditor"})))
    assert ATTRIBUTES_OID.dotted_string in text
    assert f"    {example.hex()}\n" in text
