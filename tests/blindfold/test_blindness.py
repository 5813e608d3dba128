"""The KMS learns which key version and policy it is asked for, and nothing else of the file: exactly."""

import json
import secrets
from dataclasses import fields
from typing import Any

import pytest
from honest_kms import HonestKms, element_of, header_of, small_kms

from blindfold import Binding, BlindRequest, PolicyDocument, begin_open, finish_open, seal
from blindfold.documents import document_exponent
from blindfold.envelope import MAC_SIZE, Metadata
from blindfold.opening import _begin_open_with
from testvectors import material

KMS = HonestKms()
POLICY = material.policy()
BY_NAME = material.policy(binding=Binding.POLICY)


def wire(request: BlindRequest) -> bytes:
    """Every byte of a request, in one spelling."""
    values: dict[str, Any] = {
        field.name: value.hex() if isinstance(value := getattr(request, field.name), bytes) else value
        for field in fields(request)
    }
    return json.dumps(values).encode()


def sealed_pair(kms: HonestKms, policy: PolicyDocument) -> tuple[bytes, bytes]:
    """Two files that differ in everything but key version and policy."""
    first = seal(b"short", kms.key, policy, name="a", test_only=True)
    second = seal(
        secrets.token_bytes(70_000), kms.key, policy,
        name="quite another name", content_type="image/png", pad=True, test_only=True,
    )  # fmt: skip
    return first, second


@pytest.mark.parametrize("kms", [HonestKms(), small_kms()], ids=["512 bits", "1024 bits"])
@pytest.mark.parametrize("policy", [POLICY, BY_NAME], ids=lambda policy: policy.binding.name)
def test_any_request_could_have_come_from_any_file_under_the_policy(
    kms: HonestKms, policy: PolicyDocument
) -> None:
    """For every request of one file there is one blinding factor with which another file gives it too.

    The factor is uniform, so the request is independent of the file: perfect blindness, not a computational
    one.
    """
    first, second = sealed_pair(kms, policy)
    n, exponent = kms.key.n, document_exponent(kms.key, policy)
    request, _ = begin_open(first, kms.key, test_only=True)
    element = int.from_bytes(request.element, "big")
    r2 = kms.root(element * pow(element_of(second), -1, n) % n, exponent)
    twin, state = _begin_open_with(second, kms.key, test_only=True, blind=r2)
    assert twin == request
    assert wire(twin) == wire(request)
    assert len(finish_open(state, kms.answer(request))) == 70_000, "and the answer serves it as well"


@pytest.mark.parametrize("policy", [POLICY, BY_NAME], ids=lambda policy: policy.binding.name)
def test_nothing_of_the_file_is_in_the_request(policy: PolicyDocument) -> None:
    """No four bytes of element, metadata, mac or payload. Randomness is fixed: chance would find some."""
    metadata = Metadata("database-password", "text/x-unlikely", 0x0123456789ABCDEF)
    secret = material.seeded("secret", 300)
    sealed = material.sealed(secret, key_document=KMS.key, policy_document=policy, metadata=metadata)
    header = header_of(sealed)
    size = len(header.to_bytes())
    assert len(sealed) == size + MAC_SIZE + 300 + 16
    private = [header.lock.element, header.metadata.to_bytes(), sealed[size:]]
    pieces = {part[start : start + 4] for part in private for start in range(len(part) - 3)}
    for number in range(20):
        blind = int.from_bytes(material.seeded(f"blind {number}", 63), "big")
        request, _ = _begin_open_with(sealed, KMS.key, test_only=True, blind=blind)
        for field in fields(request):
            value = getattr(request, field.name)
            data = value if isinstance(value, bytes) else str(value).encode()
            assert not pieces & {data[start : start + 4] for start in range(len(data) - 3)}


def test_request_holds_tenant_key_version_binding_and_element_and_no_more() -> None:
    request, _ = begin_open(seal(b"s", KMS.key, POLICY, name="web", test_only=True), KMS.key, test_only=True)
    assert [field.name for field in fields(request)] == [
        "tenant",
        "key_version",
        "binding",
        "binding_value",
        "element",
    ]
    assert (request.tenant, request.key_version) == ("acme", 1)
    assert (request.binding, request.binding_value) == (POLICY.binding, POLICY.binding_value)
    assert len(request.element) == KMS.key.element_size


def test_requests_of_all_files_under_one_policy_differ_in_the_element_alone() -> None:
    files = [*sealed_pair(KMS, POLICY), *sealed_pair(KMS, POLICY)]
    requests = [begin_open(file, KMS.key, test_only=True)[0] for file in files]
    assert len({(r.tenant, r.key_version, r.binding, r.binding_value) for r in requests}) == 1
    assert len({len(request.element) for request in requests}) == 1
    assert len({request.element for request in requests}) == len(files)


def test_request_depends_on_the_header_fields_alone_when_the_blind_is_fixed() -> None:
    """Changing mac or payload changes no byte of the request: they do not enter it."""
    sealed = bytearray(seal(b"a secret", KMS.key, POLICY, test_only=True))
    before, _ = _begin_open_with(bytes(sealed), KMS.key, test_only=True, blind=7)
    for index in range(len(header_of(bytes(sealed)).to_bytes()), len(sealed)):
        sealed[index] ^= 0xFF
    after, _ = _begin_open_with(bytes(sealed), KMS.key, test_only=True, blind=7)
    assert after == before


def test_every_attempt_blinds_anew() -> None:
    sealed = seal(b"s", KMS.key, POLICY, test_only=True)
    elements = {begin_open(sealed, KMS.key, test_only=True)[0].element for _ in range(32)}
    assert len(elements) == 32
    assert header_of(sealed).lock.element not in elements


def test_request_can_be_sent_again_but_not_changed() -> None:
    request, state = begin_open(seal(b"s", KMS.key, POLICY, test_only=True), KMS.key, test_only=True)
    with pytest.raises(AttributeError):
        request.element = b""  # type: ignore[misc]
    assert KMS.answer(request) == KMS.answer(request)
    assert finish_open(state, KMS.answer(request)).reveal() == b"s"
