"""The page on secrets in a vault: its example is an access, and its tables name every member."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import yaml

from kms.main.configuration import Configuration
from kms.model.access_json import access_schema, parse_access
from kms.model.secret_type import SECRET_TYPE

PAGE = (Path(__file__).parents[2] / "docs/external-secrets.md").read_text(encoding="utf-8")


def members(schema, but=("type",)):
    return set(schema["properties"]) - set(but)


def named_in(row):
    return set(re.findall(r"`([a-z_]+)`", row))


def row_of(name):
    [row] = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    return row


def test_the_example_is_an_access():
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_access(yaml.safe_load(example)["content"]).provider == "corp-vault"


def test_every_type_of_secret_is_listed_with_its_members():
    for variant in SECRET_TYPE.schema["oneOf"]:
        name = variant["properties"]["type"]["const"]
        assert members(variant) <= named_in(row_of(name)), name


def test_every_member_of_an_access_is_listed():
    listed = set().union(*(named_in(line) for line in PAGE.splitlines() if line.startswith("| `")))
    assert members(access_schema()) <= listed
    assert members(access_schema()["properties"]["tls"]) <= named_in(row_of("tls"))


def test_every_authentication_is_listed_with_its_members():
    for variant in access_schema()["properties"]["authentication"]["oneOf"]:
        name = variant["properties"]["type"]["const"]
        assert members(variant) <= named_in(row_of(name)), name


def test_the_settings_are_those_of_a_server():
    [settings] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    names = tomllib.loads(settings)
    assert names == {"allow_clear_secrets": True, "allow_plain_http": True}
    assert names.keys() <= {item.name for item in fields(Configuration)}
