"""Resource names: one spelling each, and a name that exists is well-formed."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField
from kms.model import names
from kms.model.names import BlindfoldKeyName, ResourceName, SecretPolicyRevisionName, TenantName

CLASSES: list[type[ResourceName]] = [
    value
    for value in vars(names).values()
    if isinstance(value, type) and issubclass(value, ResourceName) and value is not ResourceName
]
ids = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
numbers = st.integers(1, 2**32 - 1)


def built(cls: type[ResourceName]) -> Any:
    kinds = {field.name: numbers if field.type in (int, "int") else ids for field in fields(cls)}
    return st.builds(cls, **kinds)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_printed_name_parses_to_itself(cls: type[ResourceName], data: st.DataObject) -> None:
    name = data.draw(built(cls))
    assert cls.parse(str(name)) == name


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(text=st.text(max_size=60))
def test_other_text_is_refused_and_the_form_is_shown(cls: type[ResourceName], text: str) -> None:
    with pytest.raises(InvalidField, match="must have the form"):
        cls.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "tenants/acme\n",
        "tenants/acme/",
        "/tenants/acme",
        "tenants/Acme",
        "tenants/acmé",
        "tenants/a..b",
        "tenants/" + "a" * 64,
        "tenants/acme%2Fx",
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(InvalidField):
        TenantName.parse(text)


@pytest.mark.parametrize("number", ["0", "01", "-1", "+1", "1.0", "4294967296", "9999999999", "1" * 11, "١"])
def test_numbers_have_one_spelling_and_a_range(number: str) -> None:
    with pytest.raises(InvalidField):
        BlindfoldKeyName.parse(f"tenants/acme/blindfoldKeys/{number}")


def test_largest_number_is_a_name() -> None:
    name = SecretPolicyRevisionName.parse("tenants/t/namespaces/n/secretPolicies/p/revisions/4294967295")
    assert name.revision == 2**32 - 1
