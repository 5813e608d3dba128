"""The identity authority: what it signs, for how long, and what it refuses to sign."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from blindfold.secret import SecretBytes
from kms.errors import ConfigError, InvalidField, WrongState
from kms.identity.authority import (
    CertificateAuthority,
    ServerNames,
    _issue_with,
    create_intermediate,
    create_root,
)
from kms.identity.certificates import load_certificate, verify_leaf
from kms.identity.extension import ATTRIBUTES_OID
from kms.identity.grant import Grant
from kms.identity.trust import AnchorPolicy, TrustAnchor, TrustBundle, fingerprint

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def value(certificate: x509.Certificate, kind: Any) -> Any:
    return certificate.extensions.get_extension_for_class(kind).value


def test_root_lives_ten_years_and_allows_another_root_and_its_authority_below_it(now: datetime) -> None:
    root = create_root("kms.example", now).certificate
    assert root.not_valid_after_utc - root.not_valid_before_utc == 3650 * DAY
    assert value(root, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=2)
    assert isinstance(root.public_key().curve, ec.SECP256R1)
    root.verify_directly_issued_by(root)


def test_intermediate_lives_a_year_and_allows_none_below_it(
    root: CertificateAuthority, now: datetime
) -> None:
    intermediate = create_intermediate(root, now).certificate
    assert intermediate.not_valid_after_utc - intermediate.not_valid_before_utc == 365 * DAY
    assert value(intermediate, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=0)
    intermediate.verify_directly_issued_by(root.certificate)


def test_authorities_may_sign_certificates_and_do_nothing_else(
    root: CertificateAuthority, authority: CertificateAuthority
) -> None:
    for certificate in (root.certificate, authority.certificate):
        usage = value(certificate, x509.KeyUsage)
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical


def test_two_authorities_of_one_trust_domain_have_different_names(now: datetime) -> None:
    one, two = create_root("kms.example", now), create_root("kms.example", now)
    assert one.certificate.subject != two.certificate.subject
    assert one.trust_domain == two.trust_domain == "kms.example"


def test_leaf_is_of_the_documented_profile(
    authority: CertificateAuthority, grant: Grant, key: Any, now: datetime
) -> None:
    leaf = authority.issue(key.public_key(), grant, HOUR, now)
    found = {extension.oid: extension for extension in leaf.extensions}
    assert found[ATTRIBUTES_OID].critical is False
    assert found[x509.SubjectAlternativeName.oid].critical is True
    assert set(value(leaf, x509.ExtendedKeyUsage)) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    assert value(leaf, x509.BasicConstraints).ca is False
    assert list(leaf.subject) == []
    issuer_id = value(authority.certificate, x509.SubjectKeyIdentifier).digest
    assert value(leaf, x509.AuthorityKeyIdentifier).key_identifier == issuer_id
    assert value(leaf, x509.SubjectKeyIdentifier).digest
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (now, now + HOUR)


def test_serial_numbers_are_of_159_random_bits(
    authority: CertificateAuthority, grant: Grant, key: Any, now: datetime
) -> None:
    serials = {authority.issue(key.public_key(), grant, HOUR, now).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert 140 < max(serials).bit_length() <= 159


def test_the_inner_function_takes_the_serial_number(
    authority: CertificateAuthority, grant: Grant, key: Any, now: datetime
) -> None:
    leaf = _issue_with(authority, key.public_key(), grant, HOUR, now, serial=0x4711)
    assert leaf.serial_number == 0x4711


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=59), DAY + timedelta(seconds=1), -HOUR])
def test_lives_outside_a_minute_and_a_day_are_refused(
    authority: CertificateAuthority, grant: Grant, key: Any, now: datetime, ttl: timedelta
) -> None:
    with pytest.raises(InvalidField, match="ttl"):
        authority.issue(key.public_key(), grant, ttl, now)
    with pytest.raises(InvalidField, match="ttl"):
        authority.issue_server(key.public_key(), ServerNames("kms", ("localhost",)), ttl, now)


def test_a_leaf_never_outlives_its_authority(
    root: CertificateAuthority, grant: Grant, key: Any, now: datetime
) -> None:
    authority = create_intermediate(root, now)
    late = authority.certificate.not_valid_after_utc - HOUR
    leaf = authority.issue(key.public_key(), grant, DAY, late)
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc
    with pytest.raises(WrongState, match="expired"):
        authority.issue(key.public_key(), grant, DAY, late + HOUR)


def test_an_intermediate_never_outlives_its_root(now: datetime) -> None:
    root = create_root("kms.example", now)
    late = now + 3600 * DAY
    assert create_intermediate(root, late).certificate.not_valid_after_utc == now + 3650 * DAY
    with pytest.raises(WrongState, match="expired"):
        create_intermediate(root, now + 3650 * DAY)


@pytest.mark.parametrize(
    "name", ["", "Kms.example", "kms example", "-kms", "a/b", "x" * 64, "a." * 127 + "aa"]
)
def test_a_trust_domain_is_a_dns_name(name: str, now: datetime) -> None:
    with pytest.raises(InvalidField, match="trust_domain"):
        create_root(name, now)


def test_a_server_needs_a_name_to_be_reached_by() -> None:
    with pytest.raises(InvalidField, match="DNS name or an address"):
        ServerNames("kms")
    with pytest.raises(InvalidField, match="lower-case DNS name"):
        ServerNames("kms", ("*.example",))
    with pytest.raises(InvalidField, match="server name"):
        ServerNames("Kms", ("localhost",))


def test_authority_survives_storage(authority: CertificateAuthority) -> None:
    again = CertificateAuthority.load(authority.certificate_pem(), authority.private_key_der())
    assert again.certificate == authority.certificate
    assert again.private_key_der().reveal() == authority.private_key_der().reveal()


def test_a_key_of_another_authority_is_refused(
    root: CertificateAuthority, authority: CertificateAuthority
) -> None:
    with pytest.raises(ConfigError, match="not that of the CA certificate"):
        CertificateAuthority.load(root.certificate_pem(), authority.private_key_der())
    with pytest.raises(ConfigError, match="cannot be read"):
        CertificateAuthority.load(root.certificate_pem(), SecretBytes(b"\x30\x00"))
    with pytest.raises(ConfigError, match="cannot be read"):
        CertificateAuthority.load(b"", root.private_key_der())


def test_root_key_goes_offline_under_a_passphrase(root: CertificateAuthority) -> None:
    passphrase = SecretBytes(b"correct horse")
    pem = root.private_key_pem(passphrase)
    assert pem.reveal().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    again = CertificateAuthority.load_offline(root.certificate_pem(), pem, passphrase)
    assert again.private_key_der().reveal() == root.private_key_der().reveal()
    for wrong in (SecretBytes(b"battery"), None):
        with pytest.raises(ConfigError, match="passphrase"):
            CertificateAuthority.load_offline(root.certificate_pem(), pem, wrong)


def test_root_key_may_go_offline_in_the_clear(root: CertificateAuthority) -> None:
    pem = root.private_key_pem(None)
    assert pem.reveal().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert CertificateAuthority.load_offline(root.certificate_pem(), pem, None).trust_domain == "kms.example"


def test_nothing_prints_a_private_key(authority: CertificateAuthority) -> None:
    number = authority.key.private_numbers().private_value
    printed = f"{authority!r} {authority.private_key_der()!r} {authority.private_key_pem(None)!r}"
    assert "PRIVATE" not in printed
    assert str(number) not in printed


def test_bundle_survives_storage_and_tells_roots_from_intermediates(
    root: CertificateAuthority, authority: CertificateAuthority
) -> None:
    bundle = TrustBundle((root.certificate,), (authority.certificate,))
    assert TrustBundle.parse(bundle.to_pem()) == bundle
    with pytest.raises(ConfigError, match="needs a root"):
        TrustBundle.parse(authority.certificate_pem())
    with pytest.raises(ConfigError, match="needs a root"):
        TrustBundle.parse(b"nothing")


def test_fingerprint_is_sha256_of_the_der(root: CertificateAuthority) -> None:
    assert len(fingerprint(root.certificate)) == 32
    assert fingerprint(root.certificate) != fingerprint(
        create_root("kms.example", datetime.now(UTC)).certificate
    )


def shake_hands(client: ssl.SSLObject, server: ssl.SSLObject, pipes: list[ssl.MemoryBIO]) -> None:
    to_client, from_client, to_server, from_server = pipes
    waiting = {client, server}
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                pass
        to_server.write(from_client.read())
        to_client.write(from_server.read())
    assert not waiting
    # TLS 1.3: only reading shows the server's verdict on the client's certificate.
    server.write(b"welcome")
    to_client.write(from_server.read())
    assert client.read() == b"welcome"


def context(
    tmp_path: Path, side: int, key: Any, chain: list[x509.Certificate], root: x509.Certificate
) -> ssl.SSLContext:
    path = tmp_path / f"{side}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + b"".join(item.public_bytes(Encoding.PEM) for item in chain))
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(path)
    made.load_verify_locations(cadata=root.public_bytes(Encoding.PEM).decode())
    made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.mark.parametrize("address", ["kms.acme.example", "127.0.0.1"])
def test_both_certificates_carry_a_mutual_tls_handshake(
    tmp_path: Path, grant: Grant, key: Any, address: str
) -> None:
    now = datetime.now(UTC)
    root = create_root("kms.example", now)
    authority = create_intermediate(root, now)
    names = ServerNames("kms", ("kms.acme.example",), (ip_address("127.0.0.1"),))
    server_key = ec.generate_private_key(ec.SECP256R1())
    server_chain = [authority.issue_server(server_key.public_key(), names, HOUR, now), authority.certificate]
    client_chain = [authority.issue(key.public_key(), grant, HOUR, now), authority.certificate]
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, server_key, server_chain, root.certificate)
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, key, client_chain, root.certificate)
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    client_side = client.wrap_bio(pipes[0], pipes[1], server_hostname=address)
    server_side = server.wrap_bio(pipes[2], pipes[3], server_side=True)
    shake_hands(client_side, server_side, pipes)
    presented = server_side.getpeercert(binary_form=True)
    assert presented is not None
    bundle = TrustBundle((root.certificate,), (authority.certificate,))
    anchors = [TrustAnchor(bundle, AnchorPolicy("kms.example"))]
    assert verify_leaf(load_certificate(presented), anchors, now).dns_names == ("web.acme.example",)
