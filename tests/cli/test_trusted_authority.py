"""A company's authority by command, and its certificates as credentials of the programs."""

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from house import House
from identity.corporate_ca import Company, certificate_pem, key_pem
from server.server_harness import write_credentials

from cli.exit_codes import ExitCode
from kms.client.credentials import read_credentials

NAME = "tenants/acme/trustedAuthorities/corp"
RULES = (
    *("--subject", "*", "--claim", "/subject/OU=Platform", "--namespace", "prod"),
    *("--identity", "/subject/CN", "--role", "auditor"),
)


def test_authority_is_trusted_shown_changed_and_removed_and_vouches_meanwhile(house: House) -> None:
    company = Company(datetime.now(UTC) - timedelta(hours=1))
    pem = house.file("corp-ca.pem", company.pem)
    command = ("kms", "trusted-authority")
    made = house.must(*command, "create", "corp", "--certificates", pem, *RULES)
    assert (made["name"], made["roles"]) == (NAME, ["auditor"])
    assert house.must(*command, "get", "corp") == made
    assert [item["name"] for item in house.must(*command, "list")] == [NAME]

    key = ec.generate_private_key(ec.SECP256R1())
    chain = certificate_pem(company.leaf(key=key, serial=0xABC)) + certificate_pem(company.issuing)
    admin = read_credentials(house.data / "credentials" / "acme-admin")
    write_credentials(house.path / "employee", key_pem(key), chain, admin.ca_pem)
    assert house.kms("audit", "checkpoint", "--tenant", "acme", who="employee").code == 0

    changed = ("update", "corp", "--certificates", pem, *RULES, "--key-type", "P256", "--etag", made["etag"])
    assert house.must(*command, *changed)["key_types"] == ["P256"]
    revoked = house.must(*command, "revoke", "corp", "abc", "--comment", "lost")
    assert revoked == {"name": NAME, "serial_number": "abc", "revoked": True}
    leaf = house.file(
        "stolen.pem", chain.partition(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
    )
    assert house.must(*command, "revoke", "corp", "--certificate", leaf) == {"name": NAME, "revoked": True}
    ended = house.kms("audit", "checkpoint", "--tenant", "acme", who="employee")
    assert (ended.code, "revoked" in ended.words) == (ExitCode.UNAUTHENTICATED, True)
    assert house.must(*command, "delete", "corp") == {"name": NAME, "deleted": True}
    assert house.kms("trusted-authority", "get", "corp").code == ExitCode.MISMATCH
