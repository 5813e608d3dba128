"""Becoming an identity by a token, and staying it (docs/spec/identity.md, "Enrolment")."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.channel import open_enrolment_channel
from kms.client.credentials import (
    Credentials,
    KeyPair,
    generate_key_pair,
    parse_credentials,
    pinned_root,
    read_credentials,
    write_credentials,
)
from kms.client.errors import CallUnavailable
from kms.errors import InvalidField, Unauthenticated
from kms.model.join_token import JoinToken
from protos.kms.v1 import identity_pb2, identity_service_pb2
from protos.kms.v1.enrolment_service_pb2 import EnrolRequest, EnrolResponse, EnrolWithJwtRequest

TIMEOUT = 30.0


def enrol(
    server_address: str, join_token: str, directory: Path, *, server_name: str | None = None
) -> Credentials:
    """Make a key, have it certified, and write key, certificate and roots to the directory.

    `server_address` is `host:port` of the enrolment listener, `server_name` the name that its certificate
    must have if that is not the host. The token is sent only once the server has proved to be of the
    authority whose fingerprint it carries. Raises `InvalidField` for a text that is no join token or no
    address, `Unauthenticated` for another server, `CallFailed`, `ConfigError`, `OSError` for the directory.
    """
    token = JoinToken.parse(join_token)

    def request(csr: bytes) -> EnrolRequest:
        return EnrolRequest(token=token.reveal(), csr=csr)

    return _enrol(server_address, token.ca_fingerprint, "Enrol", request, directory, server_name)


def enrol_with_jwt(
    server_address: str,
    ca_fingerprint: bytes,
    issuer: str,
    token: SecretBytes,
    directory: Path,
    *,
    server_name: str | None = None,
) -> Credentials:
    """`enrol` with a token of a JWT issuer, `tenants/{tenant}/jwtIssuers/{issuer}`.

    `ca_fingerprint` is SHA-256 of the DER of the KMS's identity root. Raises as `enrol`.
    """

    def request(csr: bytes) -> EnrolWithJwtRequest:
        return EnrolWithJwtRequest(issuer=issuer, token=token.reveal().decode("ascii"), csr=csr)

    return _enrol(server_address, ca_fingerprint, "EnrolWithJwt", request, directory, server_name)


def _enrol(
    server_address: str,
    ca_fingerprint: bytes,
    method: str,
    request: Callable[[bytes], EnrolRequest | EnrolWithJwtRequest],
    directory: Path,
    server_name: str | None,
) -> Credentials:
    """`request` is given the signing request; what it gives is sent to a server of the authority alone."""
    root = pinned_root(presented_chain(server_address), ca_fingerprint)
    pair = generate_key_pair()
    with open_enrolment_channel(server_address, root, server_name) as channel:
        answer = Api(channel).exchange("EnrolmentService", method, request(pair.csr), EnrolResponse)
    credentials = _credentials(pair, answer.certificate)
    write_credentials(directory, credentials)
    return credentials


def renew(api: Api, directory: Path) -> Credentials:
    """Replace the directory's credentials by fresh ones of the same identity.

    `api` calls with the credentials that are in the directory now; open another channel afterwards. Raises
    `CallFailed`, `ConfigError`, `Unauthenticated` if the answer is of another identity, `OSError`.
    """
    before = read_credentials(directory)
    pair = generate_key_pair()
    request = identity_service_pb2.RenewCertificateRequest(csr=pair.csr)
    answer = api.exchange(
        "IdentityService", "RenewCertificate", request, identity_service_pb2.RenewCertificateResponse
    )
    credentials = _credentials(pair, answer.certificate)
    if credentials.spiffe_id != before.spiffe_id:
        raise Unauthenticated(f"asked to renew {before.spiffe_id}, got {credentials.spiffe_id}")
    write_credentials(directory, credentials)
    return credentials


def presented_chain(server_address: str) -> bytes:
    """The certificates that a server presents, in PEM. Nothing of them is verified, and nothing is sent.

    Raises `CallUnavailable`, `InvalidField`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = _host_and_port(server_address)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            chain = _chain(secured)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    else:
        return "".join(map(ssl.DER_cert_to_PEM_cert, chain)).encode("ascii")
    raise CallUnavailable(f"{server_address}: {problem}")


def _chain(secured: ssl.SSLSocket) -> list[bytes]:
    """In DER. Before Python 3.13 the method is that of the object inside, and gives certificate objects."""
    public: Any = secured
    if hasattr(public, "get_unverified_chain"):
        return list(public.get_unverified_chain())
    inner: Any = public._sslobj
    return [ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in inner.get_unverified_chain()]


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidField("server", "has the form host:port, such as kms.example:7444")
    return host.strip("[]"), int(port)


def _credentials(pair: KeyPair, answer: identity_pb2.CertificateBundle) -> Credentials:
    chain, roots = answer.certificate_chain_pem.encode(), answer.trust_bundle_pem.encode()
    return parse_credentials(pair.key_pem, chain, roots)
