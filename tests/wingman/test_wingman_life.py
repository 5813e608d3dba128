"""From its first start to its end: enrolment, renewal, a KMS that is away, and an identity that is lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from relay import relay
from server.kms_harness import PROD, RunningKms
from sidecar import NOWHERE, Sidecar, configuration, ready_sidecar, serving, wait_until
from test_unseal import KEPT

from kms.client import enrolment
from kms.client.credentials import read_credentials
from kms.client.resending import Resending
from kms.identity.grant import Grant
from kms.model.names import IdentityName
from wingman import identity

SECRET = b"what lasts"
LIFE = timedelta(hours=24)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long pauses."""
    monkeypatch.setattr(identity, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(identity, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(identity, "ENROL_WITHIN", 0.05)
    monkeypatch.setattr("wingman.kms_connection.LOOK_EVERY", 0.1)
    monkeypatch.setattr("wingman.kms_connection.LONGEST_PAUSE", 0.2)


def aged(kms: RunningKms, directory: Path, age: timedelta, name: str = "web") -> dict[str, str]:
    """The configuration's member for credentials that were issued so long ago."""
    kms.issue(Grant(IdentityName("acme", "prod", name), (), {"app": "web"}), directory, age)
    return {"credentials": str(directory)}


def join_token(kms: RunningKms, directory: Path, name: str) -> dict[str, Any]:
    """The configuration's members of who has one, and no credentials yet."""
    created = kms.as_("admin").call(
        "IdentityService",
        "CreateJoinToken",
        {"parent": PROD, "join_token": {"identity": f"{PROD}/identities/{name}", "labels": {"app": "web"}}},
    )
    (directory / "token").write_text(created["token"] + "\n")
    enrolment = {"server": kms.enrolment_target, "join_token_file": str(directory / "token")}
    return {"credentials": str(directory / "new"), "enrolment": enrolment}


def reason(sidecar: Sidecar) -> str:
    told: str = sidecar.get("/status", accept="application/json").json["because"]
    return told


def test_join_token_is_spent_for_an_identity_that_later_starts_have(kms: RunningKms, tmp_path: Path) -> None:
    members = join_token(kms, tmp_path, "joined")
    for _ in range(2):
        with ready_sidecar(kms, tmp_path, **members) as sidecar:
            assert sidecar.unseal(kms.seal(SECRET)).status == 200
        (tmp_path / "token").unlink(missing_ok=True)
    assert read_credentials(tmp_path / "new").spiffe_id.endswith("/sa/joined")


def test_token_that_is_refused_halts_until_there_is_another(kms: RunningKms, tmp_path: Path) -> None:
    members = join_token(kms, tmp_path, "patient")
    good = (tmp_path / "token").read_text()
    with ready_sidecar(kms, tmp_path, **members):
        pass
    members["credentials"] = str(tmp_path / "newer")
    with serving(configuration(kms, tmp_path, **members)) as sidecar:
        sidecar.wait_for("HALTED")
        assert reason(sidecar) == "the KMS refuses its identity, or its token to enrol with"
        assert sidecar.get("/creds/pki/client/cert").status == 503
        assert sidecar.unseal(kms.seal(SECRET)).status == 503
        assert good == (tmp_path / "token").read_text()
        join_token(kms, tmp_path, "patient-too")
        sidecar.wait_for("READY")


def test_without_an_identity_it_initializes_and_says_so(kms: RunningKms, tmp_path: Path) -> None:
    with serving(configuration(kms, tmp_path, credentials=str(tmp_path / "none"))) as sidecar:
        assert sidecar.get("/status").text == "INITIALIZING"
        assert (sidecar.get("/livez").status, sidecar.get("/readyz").status) == (200, 503)
        answers = [sidecar.get("/creds/pki/client/key"), sidecar.unseal(kms.seal(SECRET))]
        assert [answer.status for answer in answers] == [503, 503]
        aged(kms, tmp_path / "none", timedelta(0))
        sidecar.wait_for("READY")


def test_certificate_is_renewed_at_two_thirds_of_its_life_and_followed(
    kms: RunningKms, tmp_path: Path
) -> None:
    members = aged(kms, tmp_path / "old", LIFE * 2 / 3)
    before = read_credentials(tmp_path / "old")
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        wait_until(lambda: sidecar.get("/creds/pki/client/cert").body != before.certificate_pem)
        now = read_credentials(tmp_path / "old")
        assert sidecar.get("/creds/pki/client/cert").body == now.certificate_pem
        assert now.validity.not_after > datetime.now(UTC) + LIFE * 0.9
        assert sidecar.unseal(kms.seal(SECRET)).status == 200


def test_full_disk_at_renewal_leaves_the_identity_that_there_is(
    kms: RunningKms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(enrolment, "write_credentials", full)
    members = aged(kms, tmp_path / "old", LIFE * 2 / 3)
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        wait_until(lambda: "attempt 2 to look after the identity failed: OSError" in caplog.text)
        assert sidecar.unseal(kms.seal(SECRET)).status == 200
        monkeypatch.undo()
        wait_until(
            lambda: read_credentials(tmp_path / "old").validity.not_after > datetime.now(UTC) + LIFE * 0.9
        )


def test_certificate_that_ended_halts(kms: RunningKms, tmp_path: Path) -> None:
    members = aged(kms, tmp_path / "old", LIFE + timedelta(hours=1))
    with serving(configuration(kms, tmp_path, **members)) as sidecar:
        sidecar.wait_for("HALTED")
        assert reason(sidecar) == "its certificate has ended"
        assert (sidecar.get("/readyz").status, sidecar.get("/creds/pki/server/cert").status) == (503, 503)
        assert sidecar.unseal(kms.seal(SECRET)).status == 503


def test_certificate_that_ended_is_enrolled_anew_where_there_is_a_token(
    kms: RunningKms, tmp_path: Path
) -> None:
    members = join_token(kms, tmp_path, "returning")
    aged(kms, tmp_path / "new", LIFE + timedelta(hours=1), "returning")
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        assert sidecar.unseal(kms.seal(SECRET)).status == 200


def test_revoked_identity_halts_and_what_was_kept_is_dropped(kms: RunningKms, tmp_path: Path) -> None:
    members, kept = aged(kms, tmp_path / "lost", timedelta(0), "lost"), kms.seal(SECRET, KEPT)
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        assert sidecar.unseal(kept).status == 200
        kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": f"{PROD}/identities/lost"})
        sidecar.wait_for("HALTED")
        assert sidecar.unseal(kept).status == 403
        assert sidecar.get("/creds/pki/client/key").status == 503


def test_revoked_identity_becomes_another_where_there_is_a_new_token(kms: RunningKms, tmp_path: Path) -> None:
    members = join_token(kms, tmp_path, "revoked")
    with ready_sidecar(kms, tmp_path, **members) as sidecar:
        kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": f"{PROD}/identities/revoked"})
        sidecar.wait_for("HALTED")
        join_token(kms, tmp_path, "its-heir")
        sidecar.wait_for("READY")
        assert sidecar.unseal(kms.seal(SECRET)).status == 200
    assert read_credentials(tmp_path / "new").spiffe_id.endswith("/sa/its-heir")


def test_what_one_identity_had_opened_is_not_another_ones(kms: RunningKms, tmp_path: Path) -> None:
    directory = tmp_path / "credentials"
    kms.issue(Grant(IdentityName("acme", "prod", "web"), (), {"app": "web"}), directory, timedelta())
    sealed = kms.seal(SECRET, KEPT)
    with ready_sidecar(kms, tmp_path, credentials=str(directory)) as sidecar:
        assert sidecar.unseal(sealed).status == 200
        before = sidecar.get("/creds/pki/client/cert").body
        kms.issue(Grant(IdentityName("acme", "prod", "other"), (), {"app": "other"}), directory, timedelta())
        wait_until(lambda: sidecar.get("/creds/pki/client/cert").body != before)
        assert sidecar.unseal(sealed).status == 403


def test_kms_that_is_away_at_the_start_is_waited_for(kms: RunningKms, tmp_path: Path) -> None:
    with relay(kms.target) as way:
        way.cut()
        with serving(configuration(kms, tmp_path, server=way.address)) as sidecar:
            assert sidecar.get("/status").text == "INITIALIZING"
            assert sidecar.unseal(kms.seal(SECRET)).status == 503
            assert sidecar.get("/creds/pki/client/cert").status == 200
            way.mend()
            sidecar.wait_for("READY")
            assert sidecar.unseal(kms.seal(SECRET)).status == 200


def test_kms_that_goes_away_leaves_what_is_kept(kms: RunningKms, tmp_path: Path) -> None:
    kept, other = kms.seal(SECRET, KEPT), kms.seal(SECRET)
    with relay(kms.target) as way, ready_sidecar(kms, tmp_path, server=way.address) as sidecar:
        assert [sidecar.unseal(sealed).status for sealed in (kept, other)] == [200, 200]
        way.cut()
        assert [sidecar.unseal(sealed).status for sealed in (kept, other)] == [200, 503]
        assert (sidecar.get("/status").text, sidecar.get("/readyz").status) == ("DEGRADED", 200)
        assert sidecar.get("/creds/pki/client/cert").status == 200
        way.mend()
        sidecar.wait_for("READY")
        assert sidecar.unseal(other).status == 200


def test_kms_that_hangs_keeps_nobody_from_what_is_kept(
    kms: RunningKms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wingman.kms_connection.RESENDING", Resending(deadline=0.5, attempts=2))
    kept, other = kms.seal(SECRET, KEPT), kms.seal(SECRET)
    with relay(kms.target) as way, ready_sidecar(kms, tmp_path, server=way.address) as sidecar:
        assert [sidecar.unseal(sealed).status for sealed in (kept, other)] == [200, 200]
        way.freeze()
        with ThreadPoolExecutor(20) as programs:
            waiting = [programs.submit(sidecar.unseal, other) for _ in range(20)]
            assert sidecar.unseal(kept).status == 200
            assert {asked.result().status for asked in waiting} == {503}
        assert sidecar.get("/status").text == "DEGRADED"
        way.mend()
        sidecar.wait_for("READY")


def test_rate_limit_is_told_with_the_time_to_wait(kms: RunningKms, tmp_path: Path) -> None:
    with ready_sidecar(kms, tmp_path) as sidecar:
        sealed = kms.seal(SECRET)
        assert sidecar.unseal(sealed).status == 200
        kms.add_limiter("few", operation_classes=["OPERATION_CLASS_OPEN"], number=1)
        try:
            answers = [sidecar.unseal(sealed) for _ in range(2)]
        finally:
            kms.remove_limits()
    assert answers[-1].status == 503
    assert int(answers[-1].headers["retry-after"]) > 60


def test_kms_that_goes_away_is_noticed_without_a_request(kms: RunningKms, tmp_path: Path) -> None:
    with ready_sidecar(kms, tmp_path) as sidecar:
        kms.loop.run(kms.app.set_serving(False))
        try:
            sidecar.wait_for("DEGRADED")
        finally:
            kms.loop.run(kms.app.set_serving(True))
        sidecar.wait_for("READY")


def test_nobody_at_the_address_of_enrolment_is_waited_for(kms: RunningKms, tmp_path: Path) -> None:
    members = join_token(kms, tmp_path, "early")
    members["enrolment"] |= {"server": NOWHERE}
    with serving(configuration(kms, tmp_path, **members)) as sidecar:
        assert sidecar.get("/status").text == "INITIALIZING"
        assert not (tmp_path / "new").exists()
