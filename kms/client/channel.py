"""Channels to a KMS: mutual TLS with the credentials of a directory, and the one that enrolment needs."""

from pathlib import Path

import grpc

from kms.client.credentials import Credentials, read_credentials

MAX_MESSAGE = 8 * 2**20
# grpc waits a second before it connects again, and up to two minutes; meanwhile calls fail at once. In
# milliseconds.
FIRST_RECONNECT, LONGEST_RECONNECT = 100, 5000

Options = list[tuple[str, str | int]]


def open_channel(target: str, credentials_directory: Path, server_name: str | None = None) -> grpc.Channel:
    """A channel to `target` ("kms.example:7000") as the identity in the directory.

    The files are read once: `kms.client.reloading` follows them. `server_name` is the name that the server's
    certificate must have, if it is not the host of the target. Raises `ConfigError`.
    """
    return channel_as(read_credentials(credentials_directory), target, server_name)


def open_async_channel(
    target: str, credentials_directory: Path, server_name: str | None = None
) -> grpc.aio.Channel:
    """As `open_channel`, for asyncio."""
    return async_channel_as(read_credentials(credentials_directory), target, server_name)


def channel_as(credentials: Credentials, target: str, server_name: str | None = None) -> grpc.Channel:
    """As `open_channel`, with credentials that are at hand."""
    return grpc.secure_channel(target, _mutual_tls(credentials), _options(server_name))


def async_channel_as(
    credentials: Credentials, target: str, server_name: str | None = None
) -> grpc.aio.Channel:
    """As `channel_as`, for asyncio."""
    return grpc.aio.secure_channel(target, _mutual_tls(credentials), _options(server_name))


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
        ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT),
        ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options
