"""Secrets as configuration names them: closed objects, of which the clear one shows itself nowhere."""

import base64
import copy
import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold import SecretBytes
from blindfold.envelope import MAGIC
from kms.errors import InvalidField, LimitExceeded
from kms.model.names import SecretManagementAccessName
from kms.model.secret_type import (
    MAX_CLEAR_BYTES,
    BlindfoldSecret,
    ClearSecret,
    SecretEncoding,
    VaultSecret,
    parse_secret,
    secret_to_json,
)

ACCESS = "tenants/acme/namespaces/prod/secretManagementAccesses/main"


def location(data):
    return "string:///" + base64.b64encode(data).decode()


SEALED = location(MAGIC + b"the rest")
VAULT = {"type": "vault", "access": ACCESS, "path": "secret/db/password"}

ids = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
paths = st.lists(st.from_regex(r"[a-z0-9._-]{1,8}", fullmatch=True), min_size=1, max_size=4).map("/".join)
secrets = st.one_of(
    st.builds(
        BlindfoldSecret,
        st.binary(max_size=64).map(lambda rest: location(MAGIC + rest)),
        st.sampled_from(["", "web/tls.key"]),
    ),
    st.binary(min_size=1, max_size=64).map(lambda data: ClearSecret(SecretBytes(data))),
    st.builds(
        VaultSecret,
        access=st.builds(SecretManagementAccessName, ids, ids, ids),
        path=paths.filter(lambda path: not {".", ".."} & set(path.split("/"))),
        key=st.text(max_size=20).filter(str.isprintable),
        version=st.integers(0, 2**31 - 1),
        encoding=st.sampled_from(SecretEncoding),
        ciphertext=st.text(max_size=20),
    ),
)


@given(secrets)
def test_what_is_printed_is_read_back(secret):
    printed = json.loads(json.dumps(secret_to_json(secret)))
    again = parse_secret(printed)
    assert type(again) is type(secret)
    assert secret_to_json(again) == printed
    if isinstance(secret, ClearSecret):
        assert again.secret.reveal() == secret.secret.reveal()
    else:
        assert again == secret


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["type", "location", "path", "access"]) | st.text(), x)
        ),
    )
)
def test_nothing_but_a_field_error_comes_of_other_objects(value):
    with pytest.raises(InvalidField):
        parse_secret(value)


REFUSED = [
    (None, ""),
    ([], ""),
    ({}, "type"),
    ({"type": "BLINDFOLD", "location": SEALED}, "type"),
    ({"type": ["blindfold"], "location": SEALED}, "type"),
    ({"type": "file", "path": "/etc/passwd"}, "type"),
    ({"type": "blindfold"}, "location"),
    ({"type": "blindfold", "location": 7}, "location"),
    ({"type": "blindfold", "location": SEALED, "provider": "x"}, ""),
    ({"type": "blindfold", "location": SEALED, "expect_name": "n" * 256}, "expect_name"),
    ({"type": "blindfold", "location": SEALED, "expect_name": ""}, "expect_name"),
    ({"type": "blindfold", "location": SEALED, "expect_name": "\ud800"}, "expect_name"),
    ({"type": "blindfold", "location": SEALED[10:]}, "location"),
    ({"type": "blindfold", "location": "file:///etc/passwd"}, "location"),
    ({"type": "blindfold", "location": "https://evil.example/x"}, "location"),
    ({"type": "blindfold", "location": SEALED + "\n"}, "location"),
    ({"type": "blindfold", "location": SEALED.rstrip("=") + "*"}, "location"),
    ({"type": "blindfold", "location": location(b"not sealed")}, "location"),
    ({"type": "clear", "location": "string:///"}, "location"),
    ({"type": "clear", "location": location(b"x" * (MAX_CLEAR_BYTES + 1))}, "location"),
    ({"type": "clear", "location": "hunter2"}, "location"),
    ({"type": "clear", "secret": "aHVudGVyMg=="}, ""),
    ({"type": "vault", "path": "a"}, "access"),
    ({"type": "vault", "access": ACCESS}, "path"),
    (VAULT | {"access": "main"}, "access"),
    (VAULT | {"access": f"{ACCESS}/../other"}, "access"),
    (VAULT | {"access": "https://evil.example"}, "access"),
    (VAULT | {"path": "secret/../sys/raw"}, "path"),
    (VAULT | {"path": "/secret/db"}, "path"),
    (VAULT | {"path": "secret/db?version=1"}, "path"),
    (VAULT | {"path": "secret/%2e%2e/x"}, "path"),
    (VAULT | {"key": "a\nb"}, "key"),
    (VAULT | {"key": "x" * 257}, "key"),
    (VAULT | {"key": "\ud800"}, "key"),
    (VAULT | {"version": -1}, "version"),
    (VAULT | {"version": True}, "version"),
    (VAULT | {"version": 2**31}, "version"),
    (VAULT | {"encoding": "HEX"}, "encoding"),
    (VAULT | {"ciphertext": "x" * ((1 << 20) + 1)}, "ciphertext"),
    (VAULT | {"endpoint": "https://evil.example"}, ""),
]


@pytest.mark.parametrize(("value", "field"), REFUSED)
def test_what_is_not_of_the_form_is_refused_at_its_field(value, field):
    with pytest.raises(InvalidField) as caught:
        parse_secret(value)
    assert caught.value.field == field


def test_a_sealed_secret_has_its_bytes():
    assert BlindfoldSecret(SEALED).sealed == MAGIC + b"the rest"


def test_a_secret_of_a_vault_is_text_of_the_newest_version_unless_it_says_otherwise():
    assert parse_secret(VAULT) == VaultSecret(
        SecretManagementAccessName("acme", "prod", "main"),
        "secret/db/password",
        "",
        0,
        SecretEncoding.TEXT,
        "",
    )


def test_a_clear_secret_shows_itself_in_its_json_alone():
    secret = parse_secret({"type": "clear", "location": location(b"hunter2")})
    assert "hunter2" not in repr(secret) + str(secret) + f"{secret}"
    assert secret_to_json(secret)["location"] == location(b"hunter2")
    for step in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            step(secret)


@pytest.mark.parametrize("text", ["hunter2", "string:///hunter2!", "string:///aHVudGVyMg"])
def test_an_error_about_a_clear_secret_does_not_show_it(text):
    with pytest.raises(InvalidField) as caught:
        parse_secret({"type": "clear", "location": text})
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + str(error.metadata)
    assert "hunter2" not in shown
    assert "aHVudGVyMg" not in shown


def test_a_limit_is_named():
    with pytest.raises(LimitExceeded, match="65536"):
        ClearSecret(SecretBytes(b""))
