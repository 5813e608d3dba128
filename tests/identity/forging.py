"""Extensions that make a proper certificate, or an improper one."""

from datetime import UTC, datetime

from cryptography import x509

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
URI = "spiffe://kms.example/tenant/acme/ns/prod/sa/web"

_EVERY_USAGE = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in usages for name in _EVERY_USAGE})


def names(*texts: str) -> x509.SubjectAlternativeName:
    """Texts with :// become URIs, others DNS names."""
    return x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier(text) if "://" in text else x509.DNSName(text) for text in texts]
    )
