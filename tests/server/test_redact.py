"""What a log shows of a message."""

import importlib
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

import protos.kms.v1
from kms.server.redact import HIDDEN, log_view
from protos.kms.v1.blindfold_service_pb2 import (
    BlindfoldKey,
    EvaluateBlindedRequest,
    EvaluateBlindedResponse,
    EvaluationResult,
)
from protos.kms.v1.enrolment_service_pb2 import EnrolRequest
from protos.kms.v1.identity_service_pb2 import CreateJoinTokenRequest, JoinToken
from protos.kms.v1.key_version_state_pb2 import KEY_VERSION_STATE_ENABLED
from protos.kms.v1.tenant_service_pb2 import Tenant

SECRET = "correct horse battery staple"
# Words in a field's name that say that its text is secret, and fields that have them and are not.
SECRET_WORDS = ("token", "secret", "password", "passphrase", "private")
PUBLIC_FIELDS = {"page_token", "next_page_token", "secret_policy_id", "secret_management_access_id"}

MESSAGES = [
    message
    for path in sorted(Path(protos.kms.v1.__path__[0]).glob("*_pb2.py"))
    for message in importlib.import_module(
        f"protos.kms.v1.{path.stem}"
    ).DESCRIPTOR.message_types_by_name.values()
]


def test_bytes_are_shown_as_their_number():
    view = log_view(EvaluateBlindedRequest(name="n", revision_digest=b"d" * 32, elements=[b"a", b"bb"]))
    assert view == {"name": "n", "revision_digest": "<32 bytes>", "elements": ["<1 bytes>", "<2 bytes>"]}


def test_a_join_token_is_hidden_wherever_it_is():
    assert log_view(EnrolRequest(token=SECRET)) == {"token": HIDDEN}
    nested = CreateJoinTokenRequest(parent="p", join_token=JoinToken(token=SECRET, roles=["auditor"]))
    assert log_view(nested) == {"parent": "p", "join_token": {"token": HIDDEN, "roles": ["auditor"]}}


def test_what_is_set_is_shown_in_plain_types():
    assert log_view(Tenant(name="tenants/a", labels={"k": "v"})) == {
        "name": "tenants/a",
        "labels": {"k": "v"},
    }
    assert log_view(BlindfoldKey(state=KEY_VERSION_STATE_ENABLED)) == {"state": "KEY_VERSION_STATE_ENABLED"}
    assert log_view(Tenant()) == {}


def test_an_enumeration_value_that_nobody_knows_is_shown_as_its_number():
    assert log_view(BlindfoldKey(state=99)) == {"state": 99}


def test_packed_details_are_not_unpacked():
    status = Status(code=3)
    status.details.add().Pack(EnrolRequest(token=SECRET))
    view = log_view(EvaluateBlindedResponse(results=[EvaluationResult(error=status)]))
    assert SECRET not in repr(view)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_every_field_with_the_name_of_a_secret_is_marked(message):
    for field in message.fields:
        if field.type != FieldDescriptor.TYPE_STRING or field.name in PUBLIC_FIELDS:
            continue
        if any(word in field.name for word in SECRET_WORDS):
            assert field.GetOptions().debug_redact, field.full_name


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_no_bytes_of_any_message_are_shown(message):
    filled = GetMessageClass(message)()
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_BYTES:
            value = [SECRET.encode()] if field.is_repeated else SECRET.encode()
            filled.MergeFrom(GetMessageClass(message)(**{field.name: value}))
    assert SECRET not in repr(log_view(filled))
