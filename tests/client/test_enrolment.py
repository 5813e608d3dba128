"""Becoming an identity with a join token, and staying it."""

import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from server.kms_harness import PROD
from server.server_harness import Authority

from kms.client import enrolment
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import read_credentials
from kms.client.enrolment import enrol, presented_chain, renew
from kms.client.errors import CallUnauthenticated, CallUnavailable
from kms.errors import InvalidField, Unauthenticated
from kms.model.join_token import JoinToken


def token(kms, name="api", **fields):
    request = {"parent": PROD, "join_token": {"identity": f"{PROD}/identities/{name}", **fields}}
    return kms.as_("admin").call("IdentityService", "CreateJoinToken", request)["token"]


def test_enrolled_directory_calls_as_the_granted_identity(kms, tmp_path):
    credentials = enrol(kms.enrolment_target, token(kms, roles=["auditor"]), tmp_path / "api")
    assert credentials.spiffe_id == "spiffe://kms.test/tenant/acme/ns/prod/sa/api"
    assert stat.S_IMODE((tmp_path / "api" / "key.pem").stat().st_mode) == 0o600
    with open_channel(kms.target, tmp_path / "api") as channel:
        assert Api(channel).call("AuditService", "GetCheckpoint", {})["sequence"]
    assert kms.events()[-1]["caller"] == credentials.spiffe_id


def test_token_enrols_once_and_writes_nothing_the_second_time(kms, tmp_path):
    text = token(kms, "once")
    enrol(kms.enrolment_target, text, tmp_path / "first")
    with pytest.raises(CallUnauthenticated):
        enrol(kms.enrolment_target, text, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_server_of_another_authority_never_gets_the_token(kms, tmp_path, monkeypatch):
    """Its chain does not hold the pinned root, so no second connection is made."""
    genuine = JoinToken.parse(token(kms, "careful"))
    other = JoinToken(genuine.token_id, genuine.secret, bytes(32)).reveal()
    monkeypatch.setattr(enrolment, "open_enrolment_channel", None)
    with pytest.raises(Unauthenticated, match="do not send it the token"):
        enrol(kms.enrolment_target, other, tmp_path / "careful")


def test_server_that_shows_the_pinned_root_but_has_no_certificate_of_it_never_gets_the_token(kms, tmp_path):
    """The root is public, so anybody can present it: TLS under it decides."""
    root = presented_chain(kms.enrolment_target).rpartition(b"-----BEGIN")
    impostor = Authority("an impostor")
    key, leaf = impostor.issue("server")
    received = []

    def remember(request, context):
        received.append(request)
        return b""

    handlers = grpc.method_handlers_generic_handler(
        "kms.v1.EnrolmentService", {"Enrol": grpc.unary_unary_rpc_method_handler(remember)}
    )
    credentials = grpc.ssl_server_credentials([(key, leaf + root[1] + root[2])])
    with ThreadPoolExecutor(1) as workers:
        server = grpc.server(workers, handlers=[handlers])
        port = server.add_secure_port("localhost:0", credentials)
        server.start()
        with pytest.raises(CallUnavailable):
            enrol(f"localhost:{port}", token(kms, "wary"), tmp_path / "wary")
        server.stop(0).wait()
    assert received == []


@pytest.mark.parametrize("text", ["", "kjt1_", "secret"])
def test_text_that_is_no_token_is_refused_before_any_connection(tmp_path, text):
    with pytest.raises(InvalidField) as caught:
        enrol("127.0.0.1:1", text, tmp_path / "x")
    assert caught.value.field == "join_token"


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":7444", "localhost:x", "localhost:0", "a:99999"]
)
def test_address_that_is_none_is_refused(address):
    with pytest.raises(InvalidField, match="host:port"):
        presented_chain(address)


def test_nothing_that_listens_is_unavailable():
    with pytest.raises(CallUnavailable):
        presented_chain("127.0.0.1:1")


def test_what_does_not_speak_tls_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1024)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(CallUnavailable):
            presented_chain(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_presented_chain_ends_in_the_root_that_tokens_pin(kms):
    chain = presented_chain(kms.enrolment_target)
    assert chain.count(b"BEGIN CERTIFICATE") == 3
    assert chain.endswith(read_credentials(kms.credentials("admin")).ca_pem)


def test_renewal_replaces_key_and_certificate_of_the_same_identity(kms, tmp_path):
    directory = tmp_path / "api"
    before = enrol(kms.enrolment_target, token(kms, "lasting", labels={"app": "web"}), directory)
    with open_channel(kms.target, directory) as channel:
        after = renew(Api(channel), directory)
    assert after.spiffe_id == before.spiffe_id
    assert after.key_pem.reveal() != before.key_pem.reveal()
    assert read_credentials(directory).certificate_pem == after.certificate_pem
    with open_channel(kms.target, directory) as channel:
        renew(Api(channel), directory)


def test_renewal_as_somebody_else_changes_nothing(kms, tmp_path):
    directory = tmp_path / "api"
    before = enrol(kms.enrolment_target, token(kms, "honest"), directory)
    with pytest.raises(Unauthenticated, match="asked to renew"):
        renew(kms.as_("auditor"), directory)
    assert read_credentials(directory).certificate_pem == before.certificate_pem


def test_revoked_identity_is_not_renewed(kms, tmp_path):
    directory = tmp_path / "api"
    enrol(kms.enrolment_target, token(kms, "leaving"), directory)
    name = {"name": f"{PROD}/identities/leaving"}
    kms.as_("admin").call("IdentityService", "RevokeIdentity", name)
    with open_channel(kms.target, directory) as channel, pytest.raises(CallUnauthenticated):
        renew(Api(channel), directory)
