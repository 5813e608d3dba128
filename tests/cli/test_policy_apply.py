"""`apply`: policies become what files say, once; and `get --yaml` prints such files. Both kinds alike."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from house import Ended, House

from cli.exit_codes import ExitCode

RULES = """\
  rules:
    - name: web
      action: ALLOW
      client_selector: {expressions: ["app=web"]}
      time_window: {start_time: "08:00", end_time: "22:00"}
"""


@dataclass(frozen=True)
class Bench:
    """The files of one kind in a directory, and a house to apply them in."""

    house: House
    path: Path
    group: str
    kind: str

    def write(self, name: str, rules: str = RULES, more: str = "") -> Path:
        file = self.path / f"{name}.yaml"
        file.write_text(f"kind: {self.kind}\nname: prod/{name}\n{more}content:\n{rules}")
        return file

    def apply(self, *arguments: object) -> Ended:
        return self.house.kms(self.group, "apply", "-f", self.path, *arguments)

    def must(self, *arguments: object) -> list[dict[str, Any]]:
        done: list[dict[str, Any]] = self.house.must("kms", self.group, "apply", "-f", self.path, *arguments)
        return done

    def get(self, name: str) -> dict[str, Any]:
        policy: dict[str, Any] = self.house.must("kms", self.group, "get", f"prod/{name}")
        return policy


@pytest.fixture(params=[("policy", "KmsPolicy"), ("secret-policy", "SecretPolicy")], ids=lambda pair: pair[0])
def bench(house: House, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return Bench(house, tmp_path, *request.param)


def test_policies_are_made_changed_and_then_left_alone(bench: Bench) -> None:
    bench.write("applied-one")
    bench.write("applied-two")
    assert [step["change"] for step in bench.must()] == ["CREATED", "CREATED"]
    bench.write("applied-two", RULES.replace("app=web", "app=db"))
    first, second = bench.must()
    assert (first["change"], first["revision"], first["diff"]) == ("UNCHANGED", 1, "")
    assert (second["change"], second["revision"]) == ("UPDATED", 2)
    assert [step["change"] for step in bench.must()] == ["UNCHANGED", "UNCHANGED"]
    assert bench.get("applied-two")["revision"] == 2


def test_diff_is_unified_and_a_dry_run_writes_nothing(bench: Bench) -> None:
    file = bench.write("dry")
    ended = bench.apply("--dry-run")
    assert ended.out.decode().splitlines()[:2] == ["--- /dev/null", f"+++ {file}"]
    assert "dry run, created, revision none yet" in ended.words
    assert bench.house.kms(bench.group, "get", "prod/dry").code == ExitCode.MISMATCH
    assert bench.apply().code == 0
    bench.write("dry", RULES.replace("22:00", "23:00"))
    lines = bench.apply("--dry-run").out.decode().splitlines()
    assert lines[0].endswith("/dry revision 1")
    assert ('-      end_time: "22:00"' in lines, '+      end_time: "23:00"' in lines) == (True, True)
    assert bench.get("dry")["revision"] == 1


def test_printed_policy_is_applied_without_a_change(bench: Bench) -> None:
    bench.write("printed")
    bench.must()
    printed = bench.house.kms(bench.group, "get", "--yaml", "prod/printed")
    (bench.path / "printed.yaml").write_bytes(printed.out)
    [step] = bench.must()
    assert (step["change"], step["revision"]) == ("UNCHANGED", 1)


def test_old_revision_is_printed_and_brought_back(bench: Bench) -> None:
    bench.write("back")
    bench.must()
    bench.write("back", RULES.replace("app=web", "app=db"))
    bench.must()
    listed = bench.house.must("kms", bench.group, "revisions", "prod/back")
    assert [item["name"].rpartition("/")[2] for item in listed] == ["1", "2"]
    old = bench.house.kms(bench.group, "get", "--yaml", "--revision", 1, "prod/back")
    (bench.path / "back.yaml").write_bytes(old.out)
    assert [step["change"] for step in bench.must()] == ["UPDATED"]
    assert bench.get("back")["content"] == listed[0]["content"]
    assert bench.house.kms(bench.group, "get", "--yaml", "--json", "prod/back").code == ExitCode.USAGE


def etag(bench: Bench) -> str:
    bench.write("guarded", RULES.replace("app=web", "app=other"), 'etag: "99"\n')
    return "has changed: its etag is not 99"


def deleted(bench: Bench) -> str:
    bench.house.must("kms", bench.group, "delete", "prod/guarded")
    return "is deleted; undelete it first"


@pytest.mark.parametrize("change", [etag, deleted])
def test_conflict_with_one_policy_leaves_all_as_they_were(
    bench: Bench, change: Callable[[Bench], str]
) -> None:
    bench.write("a-first")
    bench.write("guarded")
    bench.must()
    try:
        words = change(bench)
        bench.write("a-first", RULES.replace("app=web", f"app={change.__name__}"))
        ended = bench.apply()
        assert (ended.code, words in ended.words, ended.out) == (ExitCode.CONFLICT, True, b"")
        assert f"app={change.__name__}" not in json.dumps(bench.get("a-first"))
    finally:
        bench.house.kms(bench.group, "undelete", "prod/guarded")


def test_policy_in_two_files_is_refused(bench: Bench) -> None:
    bench.write("twice")
    whole = {"policy": "kmsPolicies", "secret-policy": "secretPolicies"}[bench.group]
    text = f"kind: {bench.kind}\nname: tenants/acme/namespaces/prod/{whole}/twice\ncontent: {{}}\n"
    (bench.path / "again.yaml").write_text(text)
    ended = bench.apply()
    assert (ended.code, "twice.yaml:2: name: prod/twice is in" in ended.words) == (ExitCode.USAGE, True)
    assert bench.house.kms(bench.group, "get", "prod/twice").code == ExitCode.MISMATCH


def test_kms_policy_explains_itself(house: House, tmp_path: Path) -> None:
    bench = Bench(house, tmp_path, "policy", "KmsPolicy")
    bench.write("explained", "  rules:\n  - {name: orders, action: ALLOW, operations: [ENCRYPT],\n"
                "     key_matcher: {exact_values: [orders]}, aad_matcher: {equals: [YQ==]}}\n")  # fmt: skip
    bench.must()
    asked = ("kms", "policy", "explain", "prod/explained", "--identity", "prod/web")
    allowed = house.must(*asked, "--operation", "ENCRYPT", "--key", "orders", "--aad", "a")
    assert (allowed["action"], allowed["rule"]) == ("ALLOW", "orders")
    denied = house.must(*asked, "--operation", "SIGN", "--key", "orders", "--key-label", "team=a")
    assert (denied["action"], denied["trace"][0]["failed_predicate"]) == ("DENY", "operations")
    assert house.kms(*asked[1:]).code == ExitCode.USAGE
