"""A KMS whose identity root's key is lost gets another root, by who holds its root of trust."""

from pathlib import Path

from house import House

from cli.exit_codes import ExitCode

GROUP = "identity-authority"


def test_root_that_nobody_endorses_is_adopted_while_the_server_is_stopped(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.init()
    Path(house.made["identity_root_file"]).unlink()
    key, root = tmp_path / "root-key.pem", tmp_path / "root.pem"
    made = ("--trust-domain", "kms.internal", "--key-out", key, "--out", root)
    shown = house.must("kms", GROUP, "new-root", *made)
    adopted = house.must("kms", GROUP, "adopt-root", "--data", house.data, root)
    operator = ("--credentials", house.made["operator_credentials"])
    request, certificate = tmp_path / "next.csr", tmp_path / "next.pem"
    with house.served():
        roots = house.must("kms", GROUP, "status", *operator)["roots"]
        assert [(item["name"], item["identity_root"]) for item in roots[1:]] == [
            (adopted["name"], shown["identity_root"])
        ]
        assert house.kms(GROUP, "adopt-root", "--data", house.data, root).code != 0
        refused = house.kms(GROUP, "publish-root", root, *operator)
        assert (refused.code, "holds 1 certificates" in refused.words) == (ExitCode.USAGE, True)

        prepared = house.must("kms", GROUP, "prepare", "--out", request, *operator)
        signing = ("--root", key, "--key-sha256", prepared["key_sha256"], "--out", certificate)
        house.must("kms", GROUP, "sign", *signing, request)
        early = house.kms(GROUP, "activate", prepared["name"], certificate, *operator)
        assert (early.code, "have not been told" in early.words) == (ExitCode.CONFLICT, True)


def test_either_a_root_endorses_or_a_trust_domain_is_named(tmp_path: Path) -> None:
    house = House(tmp_path)
    out = ("--key-out", tmp_path / "a", "--out", tmp_path / "b")
    for given in ((), ("--root", "root.pem", "--trust-domain", "kms.internal")):
        assert house.kms(GROUP, "new-root", *given, *out).code == ExitCode.USAGE
