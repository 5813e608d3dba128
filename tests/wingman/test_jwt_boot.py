"""An identity from a token of a cluster, as in a pod."""

from pathlib import Path

import pytest
from external.https_site import Site
from server.kms_harness import RunningKms
from server.test_jwt_enrolment_served import CLUSTER, account, cluster, kms
from sidecar import ready_sidecar

from kms.client.credentials import read_credentials

__all__ = ["cluster", "kms"]


@pytest.fixture(autouse=True)
def healthy(kms: RunningKms) -> None:
    kms.loop.run(kms.app.set_serving(True))


def test_token_of_a_service_account_is_an_identity(
    kms: RunningKms,
    cluster: Site,
    tmp_path: Path,
) -> None:
    (tmp_path / "jwt").write_bytes(account(cluster).reveal() + b"\n")
    enrolment = {
        "server": kms.enrolment_target,
        "jwt_file": str(tmp_path / "jwt"),
        "jwt_issuer": CLUSTER,
        "identity_root": "sha256:" + kms.parts.identity_trust.current().issuer.root_fingerprint.hex(),
    }
    credentials = tmp_path / "credentials"
    with ready_sidecar(kms, tmp_path, credentials=str(credentials), enrolment=enrolment) as sidecar:
        assert sidecar.get("/creds/pki/client/cert").body == (credentials / "cert.pem").read_bytes()
    assert read_credentials(credentials).spiffe_id.endswith("/ns/prod/sa/web")
