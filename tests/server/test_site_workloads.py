"""A site over the wire: it enrols a workload by itself, which is refused once the site is revoked."""

import pytest
from server.kms_harness import ACME, PROD

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.enrolment import enrol
from kms.client.errors import CallDenied, CallUnauthenticated

SERVICE = "IdentityService"
SITE, CAMERA = f"{ACME}/sites/lisbon", f"{PROD}/sites/lisbon/identities/camera"


def invite(api, parent, identity, **granted):
    request = {"parent": parent, "join_token": {"identity": identity, **granted}}
    return api.call(SERVICE, "CreateJoinToken", request)["token"]


def test_site_enrols_a_workload_that_goes_when_the_site_is_revoked(kms, tmp_path):
    granted = {"labels": {"zone": "pt"}, "roles": ["enroller@prod", "auditor"]}
    enrol(kms.enrolment_target, invite(kms.as_("admin"), ACME, SITE, **granted), tmp_path / "site")
    with open_channel(kms.target, tmp_path / "site") as channel:
        site = Api(channel)
        text = invite(site, PROD, CAMERA, labels={"zone": "pt"}, roles=["auditor"])
        for identity, more in ((f"{PROD}/identities/web", {}), (CAMERA, {"labels": {"zone": "es"}})):
            with pytest.raises(CallDenied):
                invite(site, PROD, identity, **more)
    camera = enrol(kms.enrolment_target, text, tmp_path / "camera")
    assert camera.spiffe_id == "spiffe://kms.test/tenant/acme/site/lisbon/ns/prod/sa/camera"
    with open_channel(kms.target, tmp_path / "camera") as channel:
        api = Api(channel)
        assert api.call("AuditService", "GetCheckpoint", {})["sequence"]
        kms.as_("admin").call(SERVICE, "RevokeIdentity", {"name": SITE})
        with pytest.raises(CallUnauthenticated, match="revoked"):
            api.call("AuditService", "GetCheckpoint", {})
