"""GET /creds and /trust, /status, /livez and /readyz."""

import ssl
from pathlib import Path

import pytest
from server.kms_harness import RunningKms
from sidecar import Sidecar

from wingman.http.pages import PEM, SIDES


@pytest.mark.parametrize("side", SIDES)
def test_identity_is_answered_as_pem(kms: RunningKms, sidecar: Sidecar, side: str) -> None:
    directory = kms.credentials("web")
    told = {what: sidecar.get(f"/creds/pki/{side}/{what}").body for what in PEM}
    assert told["key"] == (directory / "key.pem").read_bytes()
    assert told["cert"] == (directory / "cert.pem").read_bytes()
    assert told["cert"].startswith(told["cert-only"])
    assert told["cert-only"].count(b"BEGIN CERTIFICATE") == 1 < told["cert"].count(b"BEGIN CERTIFICATE")
    assert sidecar.get(f"/trust/pki/{side}_ca").body == (directory / "ca.pem").read_bytes()


def test_identity_serves_tls(sidecar: Sidecar, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(sidecar.get("/creds/pki/server/key").body)
    (tmp_path / "cert").write_bytes(sidecar.get("/creds/pki/server/cert").body)
    context = ssl.create_default_context(cadata=sidecar.get("/trust/pki/server_ca").text)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")


def test_status_is_one_word_or_json(sidecar: Sidecar) -> None:
    answer = sidecar.get("/status")
    assert (answer.status, answer.body) == (200, b"READY")
    told = sidecar.get("/status", accept="application/json").json
    assert told == {"status": "READY", "because": "it has an identity, and the KMS answers"}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_monitors_are_told_that_it_serves(sidecar: Sidecar, path: str) -> None:
    assert (sidecar.get(path).status, sidecar.get(path).body) == (200, b"ok\n")
