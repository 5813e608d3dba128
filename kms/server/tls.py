"""Server credentials for both listeners. TLS 1.3 only: see `kms/__init__.py` for how.

The certificate is asked for anew at every handshake, so that it changes without a restart.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import grpc

import kms
from blindfold.secret import SecretBytes
from kms.errors import ConfigError, KmsError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ServerCertificate:
    """What a listener shows and believes, in PEM.

    `chain_pem` is the leaf, then the intermediates; `client_authorities_pem` what client certificates must
    come from.
    """

    private_key_pem: SecretBytes
    chain_pem: bytes
    client_authorities_pem: bytes


CertificateSource = Callable[[], ServerCertificate]


def main_credentials(source: CertificateSource) -> grpc.ServerCredentials:
    """For the listener that requires client certificates. `source` as in `enrolment_credentials`."""
    return _credentials(source, require_client_certificate=True)


def enrolment_credentials(source: CertificateSource) -> grpc.ServerCredentials:
    """For the listener that asks for no client certificate.

    `source` is called in a thread of grpc's and returns the same object until there is a new one. Raises
    `ConfigError` if TLS 1.2 could not be refused.
    """
    return _credentials(source, require_client_certificate=False)


def _credentials(source: CertificateSource, *, require_client_certificate: bool) -> grpc.ServerCredentials:
    if kms.GRPC_CAME_FIRST:
        raise ConfigError("grpc was imported before kms, so TLS 1.2 cannot be refused; import kms first")
    reload = _Reload(source, require_client_certificate)
    # The stubs do not know that None is an answer.
    return grpc.dynamic_ssl_server_credentials(
        reload.first(),
        reload,  # type: ignore[arg-type]
        require_client_certificate,
    )


class _Reload:
    """The certificate configuration, once for each new certificate."""

    def __init__(self, source: CertificateSource, with_clients: bool) -> None:
        self._source = source
        self._with_clients = with_clients
        self._served = source()

    def first(self) -> grpc.ServerCertificateConfiguration:
        return self._configuration(self._served)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """None keeps what is served: also when the source fails, since an old certificate beats none."""
        try:
            latest = self._source()
        except (KmsError, OSError, ValueError) as error:
            _log.error("the server's certificate cannot be renewed: %s", type(error).__name__)
            return None
        if latest is self._served:
            return None
        self._served = latest
        return self._configuration(latest)

    def _configuration(self, certificate: ServerCertificate) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(certificate.private_key_pem.reveal(), certificate.chain_pem)],
            certificate.client_authorities_pem if self._with_clients else None,
        )
