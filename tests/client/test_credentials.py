"""The client's credentials: private, replaced whole, and never a key beside another's certificate."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

import kms.client.credentials as module
from blindfold.secret import SecretBytes
from kms.client.credentials import (
    Credentials,
    CredentialsDirectory,
    generate_key_pair,
    parse_credentials,
    pinned_root,
    read_credentials,
    write_credentials,
)
from kms.errors import ConfigError, Unauthenticated
from kms.identity.authority import CertificateAuthority, create_intermediate, create_root
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.identity.trust import fingerprint
from kms.model.names import IdentityName

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROOT = create_root("kms.example", NOW)
AUTHORITY = create_intermediate(ROOT, NOW)


def enrol(authority: CertificateAuthority = AUTHORITY, now: datetime = NOW) -> Credentials:
    pair = generate_key_pair()
    leaf = authority.issue(verify_csr(pair.csr), Grant(IdentityName("acme", "prod", "web")), HOUR, now)
    chain = leaf.public_bytes(Encoding.PEM) + authority.certificate_pem()
    return parse_credentials(pair.key_pem, chain, ROOT.certificate_pem())


def same(left: Credentials, right: Credentials) -> bool:
    return (left.key_pem.reveal(), left.certificate_pem, left.ca_pem) == (
        right.key_pem.reveal(),
        right.certificate_pem,
        right.ca_pem,
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    credentials = enrol()
    write_credentials(tmp_path / "new" / "dir", credentials)
    found = read_credentials(tmp_path / "new" / "dir")
    assert same(found, credentials)
    assert found.spiffe_id == "spiffe://kms.example/tenant/acme/ns/prod/sa/web"
    assert found.validity.not_after == NOW + HOUR


def test_the_key_is_the_owners_alone_and_nothing_is_left_over(tmp_path: Path) -> None:
    directory = tmp_path / "credentials"
    write_credentials(directory, enrol())
    write_credentials(directory, enrol())
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in directory.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    write_credentials(tmp_path, enrol())
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_credentials(tmp_path)


@pytest.mark.parametrize("name", ["key.pem", "cert.pem", "ca.pem"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_credentials(tmp_path, enrol())
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=name):
        read_credentials(tmp_path)


@pytest.mark.parametrize("name", ["key.pem", "cert.pem", "ca.pem"])
def test_a_damaged_file_is_refused_without_its_content(tmp_path: Path, name: str) -> None:
    write_credentials(tmp_path, enrol())
    (tmp_path / name).write_bytes(b"hunter2")
    with pytest.raises(ConfigError) as refusal:
        read_credentials(tmp_path)
    assert "hunter2" not in refusal.value.message


def test_a_key_of_another_certificate_is_refused() -> None:
    mine, other = enrol(), enrol()
    with pytest.raises(ConfigError, match="do not belong together"):
        parse_credentials(mine.key_pem, other.certificate_pem, mine.ca_pem)


def test_a_file_without_a_certificate_is_refused() -> None:
    pair = generate_key_pair()
    root_pem = ROOT.certificate_pem()
    for chain, roots in ((b"", root_pem), (root_pem, b"")):
        with pytest.raises(ConfigError, match="holds no certificate"):
            parse_credentials(pair.key_pem, chain, roots)


def signed_for(*uris: str) -> bytes:
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), ROOT.key.public_key(), 1, NOW, NOW + HOUR)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("uris", [(), ("urn:web",), ("https://a.example", "https://b.example")])
def test_a_certificate_of_another_authority_may_have_no_spiffe_id(uris: tuple[str, ...]) -> None:
    made = parse_credentials(ROOT.private_key_pem(None), signed_for(*uris), ROOT.certificate_pem())
    assert made.spiffe_id == ""


def test_a_certificate_of_two_identities_is_refused() -> None:
    two = signed_for("spiffe://kms.example/operator/a", "spiffe://kms.example/operator/b")
    with pytest.raises(ConfigError, match="more than one identity"):
        parse_credentials(ROOT.private_key_pem(None), two, ROOT.certificate_pem())


class CutOff(Exception):
    """The machine stops here."""


@pytest.mark.parametrize("steps", range(6))
def test_a_write_cut_off_anywhere_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    old, new = enrol(), enrol()
    write_credentials(tmp_path, old)
    left = steps

    def cut(original: Callable[..., Path]) -> Callable[..., Path]:
        def replace(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise CutOff
            left -= 1
            return original(self, target)

        return replace

    monkeypatch.setattr(Path, "replace", cut(Path.replace))
    try:
        write_credentials(tmp_path, new)
        is_cut = False
    except CutOff:
        is_cut = True
    monkeypatch.undo()
    assert is_cut == (steps < 4)
    found = read_credentials(tmp_path)
    assert same(found, new if steps >= 3 else old)
    write_credentials(tmp_path, new)
    assert same(read_credentials(tmp_path), new)


def test_a_reader_that_meets_a_writer_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = enrol(), enrol()
    write_credentials(tmp_path, old)
    original = module._read_key
    written = []

    def read_key(path: Path) -> SecretBytes:
        if not written:
            written.append(True)
            write_credentials(tmp_path, new)
        return original(path)

    monkeypatch.setattr(module, "_read_key", read_key)
    assert same(read_credentials(tmp_path), new)


def test_a_full_disk_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_credentials(tmp_path, enrol())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_credentials(tmp_path, enrol())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_a_long_running_client_sees_the_renewal(tmp_path: Path) -> None:
    old, new = enrol(), enrol(now=NOW + timedelta(minutes=40))
    write_credentials(tmp_path, old)
    directory = CredentialsDirectory(tmp_path)
    first = directory.current()
    assert directory.current() is first
    assert not directory.renewal_due(NOW + timedelta(minutes=39))
    assert directory.renewal_due(NOW + timedelta(minutes=40))
    write_credentials(tmp_path, new)
    assert same(directory.current(), new)
    assert not directory.renewal_due(NOW + timedelta(minutes=40))


def test_a_client_that_has_not_enrolled_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="enrol first"):
        CredentialsDirectory(tmp_path).current()


def test_the_root_is_taken_from_the_chain_only_by_its_fingerprint() -> None:
    chain = AUTHORITY.certificate_pem() + ROOT.certificate_pem()
    assert pinned_root(chain, fingerprint(ROOT.certificate)) == ROOT.certificate_pem()
    stranger = create_root("kms.example", NOW)
    for presented in (stranger.certificate_pem(), AUTHORITY.certificate_pem(), b""):
        with pytest.raises(Unauthenticated, match="do not send it the token"):
            pinned_root(presented, fingerprint(ROOT.certificate))


def test_the_request_names_nothing_and_the_key_is_fresh() -> None:
    pair, other = generate_key_pair(), generate_key_pair()
    csr = x509.load_der_x509_csr(pair.csr)
    assert list(csr.subject) == []
    assert list(csr.extensions) == []
    assert pair.key_pem.reveal() != other.key_pem.reveal()
    assert "PRIVATE" not in f"{pair!r} {enrol()!r}"
