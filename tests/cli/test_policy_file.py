"""Policy files: their form, their schema, and that they are read as they were printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from authz.policy_strategies import policies
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cli.errors import CliError
from cli.policy_file import FILES, print_policy
from cli.resource_file import ResourceFile, read_content, read_files
from kms.errors import InvalidField
from kms.model.policy import KMS_PREDICATES, OF_SECRET_POLICIES, PolicyContent, PolicyKind
from kms.model.policy_json import parse_policy, to_json

KMS, SECRET = PolicyKind.KMS, PolicyKind.SECRET
FILE = """\
kind: KmsPolicy
name: prod/orders
content:
  rules:
    - name: web
      action: ALLOW
      client_selector:
        expressions: ["app=web"]
"""
KINDS = st.sampled_from([KMS, SECRET])


def write(path: Path, text: str, name: str = "orders.yaml") -> Path:
    (path / name).write_text(text)
    return path / name


def read(path: Path, kind: PolicyKind = KMS) -> list[ResourceFile[PolicyContent]]:
    return read_files((path,), FILES[kind])


def accepts(kind: PolicyKind, content: object) -> bool:
    schema = Draft202012Validator(FILES[kind].file_schema())
    name = {KMS: "KmsPolicy", SECRET: "SecretPolicy"}[kind]
    return bool(schema.is_valid({"kind": name, "name": "prod/orders", "content": content}))


def test_policy_file_is_read(tmp_path: Path) -> None:
    [file] = read(write(tmp_path, FILE))
    assert (file.name, file.etag, file.content.rules[0].name) == ("prod/orders", "", "web")


# What is put in the place of a part of the file, and how that is refused.
REFUSED = [
    ("app=web", "app=<web", ":8: content.rules[0].client_selector.expressions[0]: position 5: found '<'"),
    ("ALLOW", "PERMIT", "orders.yaml:6: content.rules[0].action: must be one of ALLOW, DENY"),
    ("client_selector", "client_selektor", ":5: content.rules[0]: unknown field or predicate"),
    ("KmsPolicy", "SecretPolicy", "orders.yaml:1: kind: is SecretPolicy, and a KmsPolicy is expected"),
    ("KmsPolicy", "Policy", "orders.yaml:1: kind: must be one of KmsPolicy, SecretPolicy"),
    ("name: prod", "title: x\nname: prod", "orders.yaml:2: title: is not a member of such files"),
    ("name: prod/orders\n", "", "orders.yaml:1: name: must be a string"),
    ("name: prod/orders", "name: prod/orders\netag: 3", "orders.yaml:3: etag: must be a string"),
    ("content:", "contents:", "orders.yaml:3: contents: is not a member"),
    (FILE[34:], "", "content: is missing"),
    (FILE[42:], " x", "orders.yaml:3: content: is not an object"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "other", "words"), REFUSED, ids=lambda value: value[:25])
def test_file_that_is_wrong_is_refused_with_line_and_field(
    tmp_path: Path, part: str, other: str, words: str
) -> None:
    assert part in FILE
    with pytest.raises(CliError) as caught:
        read(write(tmp_path, FILE.replace(part, other, 1)))
    assert words in caught.value.message


def test_directory_gives_the_policies_of_one_kind_in_the_order_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, FILE.replace("orders", "second"), "b.yml")
    secret = FILE.replace("KmsPolicy", "SecretPolicy").replace("orders", "web-tls")
    write(tmp_path, f"{FILE}---\n{secret}", "a.yaml")
    write(tmp_path, "not read", "README")
    assert [file.name for file in read(tmp_path)] == ["prod/orders", "prod/second"]
    assert [file.name for file in read(tmp_path, SECRET)] == ["prod/web-tls"]
    write(tmp_path, "kind: KmsPolice\n", "c.yaml")
    with pytest.raises(CliError, match=r"c\.yaml:1: kind: must be one of"):
        read(tmp_path)


def test_nothing_to_apply_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="nothing of the kind KmsPolicy was found"):
        read(tmp_path)


def test_content_is_read_alone_or_out_of_a_policy_file(tmp_path: Path) -> None:
    whole = read_content(str(write(tmp_path, FILE)), FILES[KMS])
    alone = json.dumps(to_json(whole))
    assert read_content(str(write(tmp_path, alone, "alone.json")), FILES[KMS]) == whole
    with pytest.raises(CliError, match="has 2 documents, and one is expected"):
        read_content(str(write(tmp_path, f"{FILE}---\n{FILE}")), FILES[KMS])
    with pytest.raises(CliError, match="has more than 2800000 bytes"):
        read_content(str(write(tmp_path, "#" * 2_800_001)), FILES[KMS])


@given(kind=KINDS, data=st.data())
def test_policy_is_read_as_it_was_printed(
    kind: PolicyKind, data: st.DataObject, tmp_path_factory: Any
) -> None:
    content = parse_policy(data.draw(policies(kms=kind is KMS)), kind)
    path = tmp_path_factory.getbasetemp() / "printed.yaml"
    path.write_text(print_policy(kind, "prod/orders", content))
    [file] = read(path, kind)
    assert (file.name, file.content) == ("prod/orders", content)


@given(kind=KINDS, data=st.data())
def test_schema_lets_every_policy_pass(kind: PolicyKind, data: st.DataObject) -> None:
    content = parse_policy(data.draw(policies(kms=kind is KMS)), kind)
    assert accepts(kind, to_json(content))


OF_SECRETS = dict(zip(OF_SECRET_POLICIES, ({"a": "b"}, "POLICY", 5), strict=True))

# A content of no policy, and of which kind it is none.
NO_POLICIES: list[tuple[PolicyKind, dict[str, Any]]] = [
    (KMS, {"colour": "red"}),
    (KMS, {"rules": {}}),
    (KMS, {"rules": [{"name": "a"}]}),
    (KMS, {"rules": [{"name": "a", "action": "PERMIT"}]}),
    (KMS, {"rules": [{"name": "a", "action": "DENY", "roles": []}]}),
    (KMS, {"rules": [{"name": "a", "action": "DENY", "roles": "b"}]}),
    (KMS, {"rules": [{"name": "a", "action": "DENY", "operations": ["READ"]}]}),
    (KMS, {"rules": [{"name": "a", "action": "DENY", "time_window": {"start_time": "25:00"}}]}),
    (KMS, {"rules": [{"name": "a", "action": "DENY", "time_window": {"not_after": "tomorrow"}}]}),
    (KMS, {"rules": [{"name": "a" * 129, "action": "DENY"}]}),
    *((KMS, {name: value}) for name, value in OF_SECRETS.items()),
    (SECRET, {"binding": "POLICY_SET"}),
    (SECRET, {"labels": {"a": 1}}),
    (SECRET, {"decrypt_cache_timeout_seconds": "5"}),
    *(
        (SECRET, {"rules": [{"name": "a", "action": "DENY", name: value}]})
        for name, value in zip(
            KMS_PREDICATES, (["SIGN"], {"exact_values": ["a"]}, {"lacks": ["YQ=="]}), strict=True
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "content"), NO_POLICIES, ids=str)
def test_schema_refuses_what_the_parser_refuses(kind: PolicyKind, content: dict[str, Any]) -> None:
    assert not accepts(kind, content)
    with pytest.raises(InvalidField):
        parse_policy(content, kind)


@pytest.mark.parametrize("kind", [KMS, SECRET])
def test_schema_is_a_schema(kind: PolicyKind) -> None:
    Draft202012Validator.check_schema(FILES[kind].file_schema())
