"""One root key, six keys that have nothing to do with each other."""

import dataclasses

import pytest

from blindfold.secret import SecretBytes
from kms.crypto.key_hierarchy import (
    AUDIT_KEY,
    ROOT_WRAPPED,
    TENANT_KEY,
    KeyHierarchy,
    derive,
    new_tenant_key,
)
from kms.crypto.wrapping import UnwrapFailed

ROOT = SecretBytes(bytes(range(32)))


def keys(root: SecretBytes) -> dict[str, bytes]:
    hierarchy = KeyHierarchy.derive(root)
    return {f.name: getattr(hierarchy, f.name).reveal() for f in dataclasses.fields(hierarchy)}


def test_derivation_is_hkdf_sha256_of_rfc_5869() -> None:
    """Test case 3 of RFC 5869, appendix A.3: no salt and no info."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert derive(SecretBytes(b"\x0b" * 22), b"", 42).reveal().hex() == expected


def test_derived_keys_are_fixed() -> None:
    """A regression vector: stores already written depend on it."""
    assert {name: key.hex()[:16] for name, key in keys(ROOT).items()} == EXPECTED


EXPECTED = {
    "row_authentication": "24f72795236f78ae",
    "state_element": "3bd8f1a5cb63ed89",
    "state_digest": "eddfbc6a06356cba",
    "audit_event": "76400237e4d629cd",
    "root_wrapping": "d77bb183434c1558",
    "backup_wrapping": "58bcad1daf93d00c",
}


def test_all_keys_differ_from_each_other_and_from_the_root_key() -> None:
    assert len({*keys(ROOT).values(), ROOT.reveal()}) == 7
    assert {len(key) for key in keys(ROOT).values()} == {32}


def test_another_root_key_gives_other_keys() -> None:
    other = keys(SecretBytes(b"\x01" * 32))
    assert not set(other.values()) & set(keys(ROOT).values())


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_root_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyHierarchy.derive(SecretBytes(bytes(size)))


@pytest.mark.parametrize("kind", ROOT_WRAPPED)
def test_what_the_root_wraps_is_bound_to_its_kind_and_name(kind: str) -> None:
    hierarchy = KeyHierarchy.derive(ROOT)
    body = hierarchy.wrap(kind, "tenants/acme", SecretBytes(b"key"))
    assert hierarchy.unwrap(kind, "tenants/acme", body).reveal() == b"key"
    with pytest.raises(UnwrapFailed):
        hierarchy.unwrap(kind, "tenants/other", body)
    with pytest.raises(UnwrapFailed):
        hierarchy.unwrap(AUDIT_KEY if kind == TENANT_KEY else TENANT_KEY, "tenants/acme", body)


def test_a_tenant_key_is_32_random_bytes() -> None:
    assert len({new_tenant_key().reveal() for _ in range(10)}) == 10
    assert new_tenant_key(lambda size: b"r" * size).reveal() == b"r" * 32


def test_no_key_shows_in_a_repr() -> None:
    shown = repr(KeyHierarchy.derive(ROOT))
    assert all(key.hex() not in shown and repr(key) not in shown for key in keys(ROOT).values())
