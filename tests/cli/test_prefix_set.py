"""`kms prefix-set`, and policies as files that name such sets."""

from pathlib import Path

from click.testing import CliRunner
from house import House

from cli import kms
from cli.exit_codes import ExitCode

RULES = """\
  rules:
    - name: office
      action: ALLOW
      client_selector: {expressions: ["app=web"]}
      ip_prefixes: [prefixSets/branch]
"""


def test_set_is_made_shown_changed_and_removed(house: House) -> None:
    made = house.must("kms", "prefix-set", "create", "office", "10.1.0.0/16", "--description", "ours")
    assert house.must("kms", "prefix-set", "get", "office") == made
    assert [item["name"] for item in house.must("kms", "prefix-set", "list")] == [made["name"]]
    changed = house.must("kms", "prefix-set", "update", "office", "10.2.0.0/16", "10.3.0.0/16")
    assert (changed["prefixes"], changed["description"]) == (["10.2.0.0/16", "10.3.0.0/16"], "ours")
    assert house.kms("prefix-set", "update", "office").code == ExitCode.USAGE
    assert house.kms("prefix-set", "update", "office", "10.2.0.1/16").code == ExitCode.USAGE
    assert house.must("kms", "prefix-set", "delete", "office")["deleted"] is True
    assert house.kms("prefix-set", "get", "office").code == ExitCode.MISMATCH


def test_secret_policy_is_applied_again_only_when_its_set_has_changed(house: House, tmp_path: Path) -> None:
    (tmp_path / "by-set.yaml").write_text(f"kind: SecretPolicy\nname: prod/by-set\ncontent:\n{RULES}")
    apply = ("kms", "secret-policy", "apply", "-f", tmp_path)
    assert house.kms(*apply[1:]).code == ExitCode.USAGE
    house.must("kms", "prefix-set", "create", "branch", "10.1.0.0/16")
    assert [step["change"] for step in house.must(*apply)] == ["CREATED"]
    assert [step["change"] for step in house.must(*apply)] == ["UNCHANGED"]
    house.must("kms", "prefix-set", "update", "branch", "10.2.0.0/16")
    [step] = house.must(*apply)
    assert (step["change"], step["revision"]) == ("UPDATED", 2)
    assert "-    - 10.1.0.0/16" in step["diff"]
    assert "+    - 10.2.0.0/16" in step["diff"]


def test_kms_policy_follows_its_set_without_being_applied(house: House, tmp_path: Path) -> None:
    (tmp_path / "by-set.yaml").write_text(f"kind: KmsPolicy\nname: prod/by-set\ncontent:\n{RULES}")
    house.kms("prefix-set", "create", "branch", "10.1.0.0/16")
    apply = ("kms", "policy", "apply", "-f", tmp_path)
    assert house.must(*apply)[0]["change"] == "CREATED"
    for prefix, action in (("10.1.0.0/16", "ALLOW"), ("10.2.0.0/16", "DENY")):
        house.must("kms", "prefix-set", "update", "branch", prefix)
        asked = ("--label", "app=web", "--address", "10.1.2.3", "--operation", "SIGN")
        assert house.must("kms", "policy", "explain", "prod/by-set", *asked)["action"] == action
    assert house.must(*apply)[0]["change"] == "UNCHANGED"


def test_table_of_requests_says_what_the_sets_are(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(f"kind: KmsPolicy\nname: prod/by-set\ncontent:\n{RULES}")
    table = (
        "policy: policy.yaml\nprefix_sets: {branch: [10.1.0.0/16]}\nrequests:\n"
        "- {expect: ALLOW, operation: SIGN, labels: {app: web}, address: 10.1.2.3}\n"
        "- {expect: DENY, operation: SIGN, labels: {app: web}, address: 10.2.2.3}\n"
    )
    for text, code, words in (
        (table, 0, "2 requests are decided as expected"),
        (table.replace("branch", "other"), ExitCode.USAGE, "there is no prefix set branch"),
        (table.replace("10.1.0.0/16", "10.1.0.1/16"), ExitCode.USAGE, "table.yaml:2: prefix_sets.branch[0]"),
        (table.replace("{branch: [10.1.0.0/16]}", "[a]"), ExitCode.USAGE, "prefix_sets: must be an object"),
    ):
        (tmp_path / "table.yaml").write_text(text)
        ended = CliRunner().invoke(kms.program, ["policy", "test", str(tmp_path / "table.yaml")])
        assert (ended.exit_code, words in ended.stderr) == (code, True), ended.stderr
