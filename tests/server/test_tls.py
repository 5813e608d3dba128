"""Who gets as far as a call."""

import socket
import subprocess
import sys

import grpc
import pytest
from server_harness import Authority, write_credentials

from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.errors import CallUnauthenticated, CallUnavailable, from_rpc_error
from kms.errors import Unavailable
from kms.server.tls import ServerCertificate, _Reload
from protos.kms.v1.status_service_pb2 import GetStatusRequest
from protos.kms.v1.status_service_pb2_grpc import StatusServiceStub


def get_status(channel):
    with channel:
        return StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)


def failure_of(channel):
    with pytest.raises(grpc.RpcError) as caught:
        get_status(channel)
    return from_rpc_error(caught.value)


def s_client(port, credentials, *options):
    return subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"localhost:{port}", "-alpn", "h2", *options),
            *("-CAfile", credentials / "ca.pem"),
            *("-cert", credentials / "cert.pem", "-key", credentials / "key.pem"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
    )


@pytest.mark.parametrize("listener", ["main", "enrolment"])
def test_tls_1_3_is_accepted(server, credentials, listener):
    result = s_client(getattr(server.ports, listener), credentials, "-tls1_3", "-verify_return_error")
    assert result.returncode == 0
    assert b"New, TLSv1.3, Cipher is TLS_" in result.stdout


@pytest.mark.parametrize("listener", ["main", "enrolment"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_1", "-tls1"])
def test_older_tls_is_refused(server, credentials, listener, version):
    result = s_client(getattr(server.ports, listener), credentials, version)
    assert result.returncode != 0
    assert b"Cipher is (NONE)" in result.stdout


def test_a_tls_1_2_client_with_every_cipher_suite_is_refused(server, credentials):
    suites = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    result = s_client(server.ports.main, credentials, "-tls1_2", "-cipher", suites, "-psk", "00112233")
    assert result.returncode != 0
    assert b"Cipher is (NONE)" in result.stdout


def test_a_certificate_of_the_authority_is_accepted(server, credentials):
    assert get_status(open_channel(server.target, credentials)).version == "1.2.3"


def test_without_a_client_certificate_the_handshake_fails(server, authority):
    failure = failure_of(open_enrolment_channel(server.target, authority.pem))
    assert isinstance(failure, CallUnavailable)
    assert failure.request_id == ""


def test_a_certificate_of_another_authority_fails_the_handshake(server, authority, tmp_path):
    key, certificate = Authority("somebody else").issue("client")
    directory = write_credentials(tmp_path / "c", key, certificate, authority.pem)
    assert isinstance(failure_of(open_channel(server.target, directory)), CallUnavailable)


def test_a_certificate_of_the_right_name_but_the_wrong_key_fails_the_handshake(server, authority, tmp_path):
    key, certificate = Authority("the authority of the tests").issue("client")
    directory = write_credentials(tmp_path / "c", key, certificate, authority.pem)
    assert isinstance(failure_of(open_channel(server.target, directory)), CallUnavailable)


def test_a_client_refuses_a_server_of_another_authority(server, authority, tmp_path):
    key, certificate = authority.issue("client")
    directory = write_credentials(tmp_path / "c", key, certificate, Authority("somebody else").pem)
    assert isinstance(failure_of(open_channel(server.target, directory)), CallUnavailable)


def test_a_client_refuses_a_server_of_another_name(server, credentials):
    assert isinstance(failure_of(open_channel(server.target, credentials, "kms.example")), CallUnavailable)


def test_plaintext_fails(server):
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as caught:
        StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_plaintext_http_request_gets_no_answer(server):
    with socket.create_connection(("localhost", server.ports.main), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not connection.recv(4096).startswith(b"HTTP/")


def test_the_enrolment_listener_needs_no_certificate_and_serves_nothing_of_the_main_one(server, authority):
    target = f"localhost:{server.ports.enrolment}"
    failure = failure_of(open_enrolment_channel(target, authority.pem))
    assert not isinstance(failure, (CallUnauthenticated, CallUnavailable))
    assert failure.message == "Method not found!"


def test_a_new_certificate_is_served_without_a_restart(serve, authority, credentials):
    server = serve()
    server.certificate[0] = authority.server_certificate("renewed")
    result = s_client(server.ports.main, credentials)
    assert b"subject=CN = renewed" in result.stdout
    assert get_status(open_channel(server.target, credentials)).version == "1.2.3"


def test_a_client_authority_added_later_is_believed_without_a_restart(serve, authority, tmp_path):
    server, successor = serve(), Authority("the successor")
    key, certificate = successor.issue("client")
    directory = write_credentials(tmp_path / "c", key, certificate, authority.pem)
    assert isinstance(failure_of(open_channel(server.target, directory)), CallUnavailable)
    old = server.certificate[0]
    server.certificate[0] = ServerCertificate(
        old.private_key_pem, old.chain_pem, authority.pem + successor.pem
    )
    assert get_status(open_channel(server.target, directory)).version == "1.2.3"


def test_while_the_source_fails_the_old_certificate_goes_on(authority, caplog):
    answers = [authority.server_certificate()]

    def source():
        if not answers:
            raise Unavailable("a text that is not for the log")
        return answers.pop()

    reload = _Reload(source, True)
    assert reload() is None
    assert "Unavailable" in caplog.text
    assert "not for the log" not in caplog.text


def test_if_grpc_was_imported_first_no_server_is_made():
    program = (
        "import grpc, kms\n"
        "from blindfold.secret import SecretBytes\n"
        "from kms.errors import ConfigError\n"
        "from kms.server.tls import ServerCertificate, main_credentials\n"
        "try:\n"
        "    main_credentials(lambda: ServerCertificate(SecretBytes(b''), b'', b''))\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True, timeout=60
    )
    assert "import kms first" in result.stdout
