"""Messages and the objects that they stand for: choices, durations, and all of an access."""

import pytest
from google.protobuf.duration_pb2 import Duration
from model.test_secret_management_access import AUTHENTICATIONS, access

from kms.errors import InvalidField
from kms.server.json_messages import fill, to_object
from protos.kms.v1.secret_management_access_pb2 import SecretManagementAccessContent
from protos.kms.v1.secret_type_pb2 import SecretType


@pytest.mark.parametrize("authentication", AUTHENTICATIONS, ids=lambda one: one["type"])
def test_every_access_goes_there_and_back(authentication):
    whole = access(authentication)
    message = SecretManagementAccessContent()
    fill(message, whole)
    assert to_object(SecretManagementAccessContent.FromString(message.SerializeToString())) == whole


def test_choice_of_nothing_is_an_object_without_a_type():
    assert to_object(SecretType()) == {}


def test_choice_with_nothing_in_it_keeps_its_type():
    message = SecretType()
    fill(message, {"type": "clear"})
    assert message.WhichOneof("type") == "clear"
    assert to_object(message) == {"type": "clear"}


@pytest.mark.parametrize(("timeout", "seconds"), [(Duration(), 0), (Duration(seconds=-5), -5)])
def test_duration_that_is_set_is_read_as_it_is(timeout, seconds):
    assert to_object(SecretManagementAccessContent(timeout=timeout)) == {"timeout_seconds": seconds}


def test_parts_of_a_second_are_refused():
    with pytest.raises(InvalidField) as caught:
        to_object(SecretManagementAccessContent(cache_timeout=Duration(nanos=1)))
    assert caught.value.field == "cache_timeout"
