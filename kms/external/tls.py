"""How servers are verified, and what they are shown."""

import os
import ssl

from blindfold.secret import SecretBytes
from kms.errors import ConfigError
from kms.model.secret_management_access import AccessTls


def client_context(tls: AccessTls, key: SecretBytes | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the authorities of `tls` alone, or the system's; `key` is its client key.

    Raises `ConfigError` for certificates, or a key (in PEM), that do not serve.
    """
    problem = "tls.ca_pem"
    try:
        context = ssl.create_default_context(cadata=tls.ca_pem or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if key is not None:
            problem = "tls.client_certificate_pem, or the client key,"
            _show(context, tls.client_certificate_pem.encode(), key)
        return context
    except (ssl.SSLError, ValueError):
        pass
    raise ConfigError(f"{problem} cannot be used: it is damaged, encrypted, or they do not belong together")


def _show(context: ssl.SSLContext, chain: bytes, key: SecretBytes) -> None:
    """The ssl module reads files alone; this one is in memory, and has no name."""
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, chain + b"\n" + key.reveal())
        # Asked for nothing: a passphrase that OpenSSL would read from the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: b"")
    finally:
        os.close(descriptor)
