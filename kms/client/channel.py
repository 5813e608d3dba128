"""Channels to a KMS: mutual TLS with the credentials of a directory, and the one that enrolment needs."""

from pathlib import Path

import grpc

from kms.client.credentials import Credentials, read_credentials

MAX_MESSAGE = 8 * 2**20

Options = list[tuple[str, str | int]]


def open_channel(target: str, credentials_directory: Path, server_name: str | None = None) -> grpc.Channel:
    """A channel to `target` ("kms.example:7000") as the identity in the directory.

    The files are read once: open another channel after a renewal. `server_name` is the name that the
    server's certificate must have, if it is not the host of the target. Raises `ConfigError`.
    """
    credentials = _mutual_tls(read_credentials(credentials_directory))
    return grpc.secure_channel(target, credentials, _options(server_name))


def open_async_channel(
    target: str, credentials_directory: Path, server_name: str | None = None
) -> grpc.aio.Channel:
    """As `open_channel`, for asyncio."""
    credentials = _mutual_tls(read_credentials(credentials_directory))
    return grpc.aio.secure_channel(target, credentials, _options(server_name))


def open_enrolment_channel(target: str, ca_pem: bytes, server_name: str | None = None) -> grpc.Channel:
    """A channel to the enrolment listener, to a server that the roots in `ca_pem` vouch for.

    The client shows no certificate. `ca_pem` is what a join token pins: see
    `kms.client.credentials.pinned_root`.
    """
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca_pem), _options(server_name))


def _mutual_tls(credentials: Credentials) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        credentials.ca_pem, credentials.key_pem.reveal(), credentials.certificate_pem
    )


def _options(server_name: str | None) -> Options:
    options: Options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options
