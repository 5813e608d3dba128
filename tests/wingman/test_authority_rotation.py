"""The KMS's authorities are replaced under a Wingman that serves: nothing restarts, nobody goes without."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from relay import Relay, relay
from server.kms_harness import PROD, RunningKms
from server.rotation_desk import Desk
from server.watched_kms import watched_kms
from sidecar import Sidecar, ready_sidecar, wait_until

from blindfold.secret import SecretBytes
from kms.model.join_token import FINGERPRINT_SIZE, ID_SIZE, SECRET_SIZE, JoinToken
from wingman import identity, serving

pytestmark = pytest.mark.slow

SECRET = b"what outlives authorities"


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[RunningKms]:
    with watched_kms(tmp_path / "house") as watched:
        kms = watched.kms
        kms.add_key()
        kms.add_policy("web-tls")
        kms.loop.run(kms.app.set_serving(True))
        yield kms


@pytest.fixture
def desk(kms: RunningKms) -> Desk:
    return Desk(kms)


@pytest.fixture
def way(kms: RunningKms) -> Iterator[Relay]:
    with relay(kms.target) as started:
        yield started


class Ahead(datetime):
    """The clock that Wingman reads, so much later than it is."""

    by = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.now(tz) + cls.by


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "datetime", Ahead)
    monkeypatch.setattr(identity, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(identity, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(identity, "ENROL_WITHIN", 0.05)
    monkeypatch.setattr("wingman.kms_connection.LOOK_EVERY", 0.1)
    monkeypatch.setattr("wingman.kms_connection.LONGEST_PAUSE", 0.2)


def token(kms: RunningKms, directory: Path, name: str) -> dict[str, Any]:
    """The configuration's members of a Wingman that enrols with a new token."""
    told = {"identity": f"{PROD}/identities/{name}", "labels": {"app": "web"}}
    made = kms.as_("admin").call("IdentityService", "CreateJoinToken", {"parent": PROD, "join_token": told})
    (directory / "token").write_text(made["token"])
    enrolment = {"server": kms.enrolment_target, "join_token_file": str(directory / "token")}
    return {"credentials": str(directory / "credentials"), "enrolment": enrolment}


@dataclass
class Program:
    """Asks its Wingman again and again, and remembers what it was answered."""

    sidecar: Sidecar
    sealed: bytes
    stop: threading.Event = field(default_factory=threading.Event)
    statuses: list[int] = field(default_factory=list)

    def ask(self) -> None:
        while not self.stop.wait(0.01):
            self.statuses.append(self.sidecar.unseal(self.sealed).status)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.ask)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()


def pem(sidecar: Sidecar, path: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(sidecar.get(path).body)


def issuer(sidecar: Sidecar) -> x509.Name:
    return pem(sidecar, "/creds/pki/client/cert-only")[0].issuer


def roots(sidecar: Sidecar) -> int:
    return len(pem(sidecar, "/trust/pki/server_ca"))


def renew(sidecar: Sidecar) -> None:
    """Lets two thirds of its certificate's life pass."""
    before = sidecar.get("/creds/pki/client/cert").body
    Ahead.by = timedelta(hours=17)
    try:
        wait_until(lambda: sidecar.get("/creds/pki/client/cert").body != before)
    finally:
        Ahead.by = timedelta()


def subject(authority: dict[str, Any]) -> x509.Name:
    return x509.load_pem_x509_certificate(authority["certificate_pem"].encode()).subject


def connect_anew(way: Relay, sidecar: Sidecar, sealed: bytes) -> None:
    """What is open was verified when it was opened."""
    way.cut()
    way.mend()
    wait_until(lambda: sidecar.unseal(sealed).status == 200)
    sidecar.wait_for("READY")


def test_new_intermediate_new_root_and_the_end_of_the_old_ones(
    kms: RunningKms, desk: Desk, way: Relay, tmp_path: Path
) -> None:
    sealed, log = kms.seal(SECRET), tmp_path / "log"
    told = {"command": ["/bin/sh", "-c", f"echo told >> {log}"]}
    files = {"directory": str(tmp_path / "files"), "identity": {"ca": "ca.crt"}, "on_change": told}
    members = token(kms, tmp_path, "long-lived") | {"server": way.address, "files": files}
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        program = Program(sidecar, sealed)
        with program.running():
            first, old_root = desk.trust()["authorities"][0]["name"], desk.trust()["roots"][0]["name"]
            active = desk.activate()
            renew(sidecar)
            assert issuer(sidecar) == subject(active)
            desk.renew("operator")
            desk.retire(first, force=True)

            desk.publish()
            by_the_new_root = desk.activate()
            assert roots(sidecar) == 1
            renew(sidecar)
            assert (issuer(sidecar), roots(sidecar)) == (subject(by_the_new_root), 2)
            wait_until(lambda: (tmp_path / "files" / "ca.crt").read_bytes().count(b"BEGIN") == 2)
            desk.renew("operator")
            desk.retire(old_root, force=True)
        assert set(program.statuses) == {200}
        connect_anew(way, sidecar, sealed)
        renew(sidecar)
        assert roots(sidecar) == 1
        wait_until(lambda: log.read_text() == "told\n" * 3)
        connect_anew(way, sidecar, sealed)


def test_connection_is_made_anew_at_every_stage(
    kms: RunningKms, desk: Desk, way: Relay, tmp_path: Path
) -> None:
    sealed = kms.seal(SECRET)
    members = token(kms, tmp_path, "cut-off") | {"server": way.address}
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        for step in (desk.activate, desk.publish, desk.activate):
            step()
            connect_anew(way, sidecar, sealed)
        renew(sidecar)
        connect_anew(way, sidecar, sealed)
        desk.renew("operator")
        desk.retire(desk.trust()["roots"][0]["name"], force=True)
        connect_anew(way, sidecar, sealed)


@pytest.mark.parametrize("replaced", ["intermediate", "root"])
def test_wingman_that_was_left_behind_halts_and_comes_back_with_another_token(
    kms: RunningKms, desk: Desk, way: Relay, tmp_path: Path, replaced: str
) -> None:
    sealed = kms.seal(SECRET)
    members = token(kms, tmp_path, "late") | {"server": way.address}
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        trust = desk.trust()
        if replaced == "root":
            desk.publish()
        desk.activate()
        desk.renew("operator", "admin")
        desk.retire(trust["authorities" if replaced == "intermediate" else "roots"][0]["name"], force=True)
        sidecar.wait_for("HALTED")
        assert sidecar.unseal(sealed).status == 403
        token(kms, tmp_path, "late")
        sidecar.wait_for("READY")
        assert sidecar.unseal(sealed).status == 200


def test_wingman_that_was_away_while_all_was_replaced_enrols_again(
    kms: RunningKms, desk: Desk, way: Relay, tmp_path: Path
) -> None:
    sealed = kms.seal(SECRET)
    members = token(kms, tmp_path, "away") | {"server": way.address}
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        way.cut()
        sidecar.wait_for("DEGRADED")
        old_root = desk.trust()["roots"][0]["name"]
        desk.publish()
        desk.activate()
        desk.renew("operator", "admin")
        desk.retire(old_root, force=True)
        way.mend()
        token(kms, tmp_path, "away")
        sidecar.wait_for("READY")
        assert sidecar.unseal(sealed).status == 200


def test_token_of_a_root_that_nobody_has_keeps_nobody_from_serving(
    kms: RunningKms, way: Relay, tmp_path: Path
) -> None:
    sealed = kms.seal(SECRET)
    members = token(kms, tmp_path, "stale") | {"server": way.address}
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        before = sidecar.get("/creds/pki/client/cert").body
    stale = JoinToken(bytes(ID_SIZE), SecretBytes(bytes(SECRET_SIZE)), bytes(FINGERPRINT_SIZE))
    (tmp_path / "token").write_text(stale.reveal())
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        way.cut()
        sidecar.wait_for("DEGRADED")
        way.mend()
        sidecar.wait_for("READY")
        assert sidecar.unseal(sealed).status == 200
        assert sidecar.get("/creds/pki/client/cert").body == before
