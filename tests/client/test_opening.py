"""Opening through a KMS: one, a stream, many; and what is sent again."""

import io

import pytest
from server.kms_harness import PROD, WEB_TLS

import blindfold
from blindfold.errors import Corrupt, DocumentMismatch, NameMismatch, OpenFailed
from kms.client import documents, opening
from kms.client.documents import KeyDocuments, fetch_policy_document, fetch_public_key
from kms.client.errors import CallDenied, CallFailed, CallUnavailable
from kms.client.opening import Sealed, open_many, open_sealed, open_sealed_unfinished
from kms.client.resending import Resending
from kms.model.names import BlindfoldKeyName, SecretPolicyName, TenantName
from protos.kms.v1.blindfold_service_pb2 import EvaluateBlindedResponse

SECRET = b"correct horse battery staple"


@pytest.fixture(scope="module", autouse=True)
def policies(kms):
    kms.add_policy("web-tls")
    kms.add_policy("by-name", binding="BINDING_POLICY")
    nobody = {"rules": [{"name": "no", "action": "ACTION_DENY"}]}
    kms.add_policy("closed", **nobody)


class Recording:
    """An `Api` that remembers what was asked, and may lose answers."""

    def __init__(self, api, lose=0):
        self._api = api
        self._lose = lose
        self.sent = []

    def prepare(self, service, method, request, answer):
        act = self._api.prepare(service, method, request, answer)

        def recorded():
            self.sent.append((method, request.SerializeToString(), len(getattr(request, "elements", ()))))
            received = act()
            if method == "EvaluateBlinded" and self._lose:
                self._lose -= 1
                raise CallUnavailable("the connection broke")
            return received

        return recorded


def evaluations(api):
    return [sent for sent in api.sent if sent[0] == "EvaluateBlinded"]


@pytest.mark.parametrize("policy", [WEB_TLS, f"{PROD}/secretPolicies/by-name"])
def test_sealed_secret_is_opened(kms, policy):
    assert open_sealed(kms.as_("web"), kms.seal(SECRET, policy)).reveal() == SECRET


def test_caller_that_the_policy_does_not_allow_is_denied(kms):
    with pytest.raises(CallDenied):
        open_sealed(kms.as_("batch"), kms.seal(SECRET))


def test_name_is_compared_when_it_is_expected(kms):
    sealed = kms.seal(SECRET, name="web/tls.key")
    assert open_sealed(kms.as_("web"), sealed, expect_name="web/tls.key").reveal() == SECRET
    with pytest.raises(NameMismatch):
        open_sealed(kms.as_("web"), sealed, expect_name="db/tls.key")


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_000])
def test_stream_is_opened_in_pieces_read_as_they_come(kms, size):
    secret = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    sealed = kms.seal(secret)

    class Trickle(io.BytesIO):
        def read(self, size=-1, /):
            return super().read(min(size, 1000))

    assert b"".join(open_sealed_unfinished(kms.as_("web"), Trickle(sealed))) == secret


def test_stream_that_is_cut_off_fails_at_its_end(kms):
    sealed = kms.seal(bytes(200_000))
    pieces = open_sealed_unfinished(kms.as_("web"), io.BytesIO(sealed[:150_000]))
    assert next(pieces)
    with pytest.raises(OpenFailed):
        list(pieces)


def test_stream_that_is_denied_is_told_before_any_piece(kms):
    with pytest.raises(CallDenied):
        open_sealed_unfinished(kms.as_("batch"), io.BytesIO(kms.seal(SECRET)))


def test_many_are_grouped_by_policy_and_answered_in_order(kms):
    closed = kms.seal(SECRET, f"{PROD}/secretPolicies/closed")
    tampered = kms.seal(b"five")
    items = [
        Sealed(kms.seal(b"one")),
        Sealed(kms.seal(b"two", f"{PROD}/secretPolicies/by-name")),
        Sealed(b"not sealed at all"),
        Sealed(kms.seal(b"three")),
        Sealed(closed),
        Sealed(kms.seal(b"four"), "another name"),
        Sealed(tampered[:-1] + bytes([tampered[-1] ^ 1])),
    ]
    api = Recording(kms.as_("web"))
    one, two, bad, three, denied, misnamed, broken = open_many(api, items)
    assert [item.secret.reveal() for item in (one, two, three)] == [b"one", b"two", b"three"]
    errors = [type(item) for item in (bad, denied, misnamed, broken)]
    assert issubclass(errors[0], Corrupt)
    assert errors[1:] == [CallDenied, NameMismatch, OpenFailed]
    assert broken.__traceback__ is None
    assert sorted(count for _, _, count in evaluations(api)) == [1, 1, 4]
    assert [method for method, _, _ in api.sent].count("GetKeyDocument") == 1


def test_batches_have_at_most_so_many_elements(kms, monkeypatch):
    monkeypatch.setattr(opening, "BATCH", 3)
    api = Recording(kms.as_("web"))
    secrets = [f"secret {number}".encode() for number in range(7)]
    opened = open_many(api, [Sealed(kms.seal(secret)) for secret in secrets])
    assert [item.secret.reveal() for item in opened] == secrets
    assert [count for _, _, count in evaluations(api)] == [3, 3, 1]


def test_each_is_told_for_how_long_its_policy_lets_it_be_kept(kms):
    kms.add_policy("kept", decrypt_cache_timeout="300s")
    items = [Sealed(kms.seal(SECRET, f"{PROD}/secretPolicies/kept")), Sealed(kms.seal(SECRET))]
    assert [opened.cache_seconds for opened in open_many(kms.as_("web"), items)] == [300, 0]


def test_nothing_to_open_asks_nothing(kms):
    api = Recording(kms.as_("web"))
    assert (open_many(api, []), api.sent) == ([], [])


def test_lost_answer_is_asked_for_again_with_the_same_bytes(kms, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    api = Recording(kms.as_("web"), lose=2)
    assert open_sealed(api, kms.seal(SECRET)).reveal() == SECRET
    sent = {raw for _, raw, _ in evaluations(api)}
    assert (len(evaluations(api)), len(sent)) == (3, 1)


def test_resending_ends(kms, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    api = Recording(kms.as_("web"), lose=100)
    with pytest.raises(CallUnavailable):
        open_sealed(api, kms.seal(SECRET))
    assert len(evaluations(api)) == Resending().attempts


def test_missing_answers_are_refused(kms, monkeypatch):
    class Stingy(Recording):
        def prepare(self, service, method, request, answer):
            if method == "EvaluateBlinded":
                return EvaluateBlindedResponse
            return super().prepare(service, method, request, answer)

    with pytest.raises(CallFailed, match="0 answers to 1"):
        open_sealed(Stingy(kms.as_("web")), kms.seal(SECRET))


def test_key_documents_are_fetched_once(kms):
    api = Recording(kms.as_("web"))
    keys = KeyDocuments(api)
    for _ in range(2):
        assert open_sealed(api, kms.seal(SECRET), keys=keys).reveal() == SECRET
    assert [method for method, _, _ in api.sent].count("GetKeyDocument") == 1


def test_key_document_of_another_fingerprint_is_refused(kms):
    with pytest.raises(DocumentMismatch):
        KeyDocuments(kms.as_("web")).get(BlindfoldKeyName("acme", 1), bytes(32))


def test_secret_of_another_tenant_is_denied(kms):
    with pytest.raises(CallDenied):
        open_sealed(kms.as_("stranger"), kms.seal(SECRET))


def test_bundles_are_fetched_with_the_names_they_are_of(kms):
    author = kms.as_("author")
    key = fetch_public_key(author, TenantName("acme"))
    policy = fetch_policy_document(author, SecretPolicyName.parse(WEB_TLS))
    assert (key.name, policy.name) == ("tenants/acme/blindfoldKeys/1", f"{WEB_TLS}/revisions/1")
    assert blindfold.Bundle.parse(key.bundle).delegation.type == blindfold.KeyDocument.TYPE
    with pytest.raises(CallDenied):
        fetch_public_key(kms.as_("web"), TenantName("acme"))
    assert documents.SERVICE == "BlindfoldService"
