"""Issuers by command, and a service account that enrols by its token."""

from datetime import UTC, datetime
from pathlib import Path

from house import House
from identity.token_workshop import AUDIENCE, URL, claims, jwk, jwks, token

from cli.exit_codes import ExitCode

RULES = (
    *("--issuer", URL, "--audience", AUDIENCE, "--subject", "system:serviceaccount:prod:*"),
    *("--claim", "/kubernetes.io/namespace=prod", "--namespace", "/kubernetes.io/namespace"),
    *("--identity", "/kubernetes.io/serviceaccount/name", "--label", "from=cluster"),
)
NAME = "tenants/acme/jwtIssuers/cluster"


def account(jti: str) -> bytes:
    pod = {"kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "pod"}}}
    return token(claims(datetime.now(UTC), jti=jti, **pod), "EdDSA").reveal()


def test_issuer_is_made_shown_changed_and_deleted_and_enrols_meanwhile(house: House, tmp_path: Path) -> None:
    keys = house.file("cluster.jwks", jwks(jwk("EdDSA")))
    made = house.must("kms", "jwt-issuer", "create", "cluster", *RULES, "--jwks", keys)
    assert (made["name"], made["claims"]) == (NAME, {"/kubernetes.io/namespace": "prod"})
    assert house.must("kms", "jwt-issuer", "get", "cluster") == made
    assert [item["name"] for item in house.must("kms", "jwt-issuer", "list")] == [NAME]
    assert "/kubernetes.io/namespace=prod" in house.kms("jwt-issuer", "get", "cluster").out.decode()

    pinned = ("--jwt-issuer", NAME, "--identity-root", house.made["identity_root"])
    enrol = ("identity", "enrol", *pinned, "--json", "--out", tmp_path / "pod")
    text = account("1")
    ended = house.kms(*enrol, stdin=text)
    assert ended.code == 0, ended.words
    assert ended.json["spiffe_id"].endswith("/tenant/acme/ns/prod/sa/pod")
    again = house.kms(*enrol, stdin=text)
    assert (again.code, "used before" in again.words) == (ExitCode.UNAUTHENTICATED, True)

    changed = ("update", "cluster", *RULES, "--jwks", keys, "--etag", made["etag"], "--algorithm", "EdDSA")
    assert house.must("kms", "jwt-issuer", *changed)["algorithms"] == ["EdDSA"]
    assert house.kms("jwt-issuer", *changed).code == ExitCode.CONFLICT
    assert house.must("kms", "jwt-issuer", "delete", "cluster") == {"name": NAME, "deleted": True}
    assert house.kms(*enrol, stdin=account("2")).code == ExitCode.UNAUTHENTICATED


def test_token_of_an_issuer_needs_the_root_that_is_to_be_trusted(house: House, tmp_path: Path) -> None:
    for half in (("--jwt-issuer", NAME), ("--identity-root", f"sha256:{'0' * 64}"), ("--identity-root", "x")):
        ended = house.kms("identity", "enrol", *half, "--out", tmp_path / "x", stdin=account("3"))
        assert ended.code == ExitCode.USAGE


def test_revoked_identity_is_deleted(house: House) -> None:
    house.enrol("prod/leaving")
    assert house.kms("identity", "delete", "prod/leaving").code == ExitCode.CONFLICT
    house.must("kms", "identity", "revoke", "prod/leaving")
    deleted = house.must("kms", "identity", "delete", "prod/leaving")
    assert deleted == {"name": "tenants/acme/namespaces/prod/identities/leaving", "deleted": True}
    assert house.kms("identity", "get", "prod/leaving").code == ExitCode.MISMATCH
