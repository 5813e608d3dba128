"""Every answer tells where its event stands in the audit chain, and a later export proves it."""

from typing import Any

import pytest
from server.backup_harness import PLAINTEXT
from server.kms_harness import ACME, PROD, RunningKms

from kms.audit.verify import verify
from kms.client.api import Api
from kms.client.audit import export_lines
from kms.client.errors import CallDenied, CallInvalid
from kms.client.opening import open_sealed
from kms.model.names import TenantName
from kms.model.receipt import Receipt
from protos.kms.v1 import crypto_pb2, crypto_service_pb2

ENC = f"{PROD}/keys/enc"


@pytest.fixture(scope="module")
def key(kms: RunningKms) -> str:
    kms.allow_keys()
    return str(kms.make_key("enc"))


class Keeping:
    """A caller who keeps all receipts."""

    def __init__(self, kms: RunningKms, who: str) -> None:
        kms.as_(who)
        self.receipts: list[Receipt] = []
        self.api = Api(kms.channels[who], timeout=20, keep=self.receipts.append)


def proven(kms: RunningKms, receipts: list[Receipt]) -> list[object]:
    """The actions of the receipts' events, as an auditor of acme sees them in a verified export."""
    found: dict[Receipt, Any] = {}
    lines = export_lines(kms.as_("auditor"), TenantName("acme"))
    verify(lines, kms.vault.audit_public_key, (), receipts, found.__setitem__)
    return [(found[receipt] or {}).get("action") for receipt in receipts]


def test_answers_and_refusals_have_receipts_that_an_export_proves(kms: RunningKms, key: str) -> None:
    user, stranger = Keeping(kms, "key-user"), Keeping(kms, "web")
    user.api.call("CryptoService", "Encrypt", {"name": key, "plaintext": PLAINTEXT})
    user.api.call("CryptoService", "Encrypt", {"name": key, "plaintext": PLAINTEXT})
    with pytest.raises(CallDenied) as denied:
        stranger.api.call("CryptoService", "Encrypt", {"name": key, "plaintext": PLAINTEXT})
    assert [denied.value.receipt] == stranger.receipts
    assert proven(kms, user.receipts + stranger.receipts) == ["Encrypt"] * 3


def test_receipt_is_of_the_call_s_own_event(kms: RunningKms, key: str) -> None:
    """The first encryption of a version also sets uses aside, which is another event."""
    user = Keeping(kms, "key-user")
    fresh = kms.make_key("fresh")
    user.api.call("CryptoService", "Encrypt", {"name": fresh, "plaintext": PLAINTEXT})
    [receipt] = user.receipts
    [event] = [event for event in kms.events() if event["sequence"] == receipt.sequence]
    assert (event["action"], event["event_id"]) == ("Encrypt", receipt.event_id)


def test_changes_have_receipts(kms: RunningKms) -> None:
    admin = Keeping(kms, "admin")
    admin.api.call("NamespaceService", "CreateNamespace", {"parent": ACME, "namespace_id": "receipts"})
    assert proven(kms, admin.receipts) == ["CreateNamespace"]


def test_stream_has_the_receipt_of_its_last_call(kms: RunningKms, key: str) -> None:
    user = Keeping(kms, "key-user")
    requests = [
        crypto_service_pb2.StreamRequest(encrypt=crypto_pb2.EncryptRequest(name=key, plaintext=b"a"))
        for _ in range(3)
    ]
    list(user.api.converse("CryptoService", "Stream", iter(requests)))
    [receipt] = user.receipts
    encryptions = [event["sequence"] for event in kms.events() if event["action"] == "Encrypt"]
    assert receipt.sequence == max(encryptions)


def test_call_without_an_event_has_no_receipt(kms: RunningKms) -> None:
    user = Keeping(kms, "key-user")
    with pytest.raises(CallInvalid) as invalid:
        user.api.call("KeyService", "GetKey", {"name": "nonsense"})
    assert (invalid.value.receipt, user.receipts) == (None, [])


def test_event_of_another_tenant_is_proven_without_being_shown(kms: RunningKms) -> None:
    stranger = Keeping(kms, "stranger")
    stranger.api.call("TenantService", "GetTenant", {"name": "tenants/globex"})
    assert proven(kms, stranger.receipts) == [None]


def test_evaluation_has_the_receipt_of_its_last_element(kms: RunningKms) -> None:
    kms.add_policy("web-tls")
    sealed = kms.seal(b"a secret", f"{PROD}/secretPolicies/web-tls")
    web = Keeping(kms, "web")
    assert open_sealed(web.api, sealed).reveal() == b"a secret"
    assert proven(kms, web.receipts)[-1] == "EvaluateBlinded"
