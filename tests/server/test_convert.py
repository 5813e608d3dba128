"""Messages to values and back."""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField, LimitExceeded
from kms.server.convert import (
    duration,
    enum_number,
    enum_text,
    page_token,
    timestamp,
    timestamp_of_text,
    to_comment,
    to_enum,
    to_last_name,
    to_page_size,
    to_request_id,
    to_span,
    to_time,
)
from protos.kms.v1 import policy_pb2

ACTION = policy_pb2.DESCRIPTOR.enum_types_by_name["Action"]


class Action(Enum):
    ALLOW = 1
    DENY = 2


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_the_wire(time):
    assert to_time(timestamp(time), "create_time") == time


def test_a_time_of_another_zone_is_told_in_utc():
    time = datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(time).ToJsonString() == "2026-02-28T23:00:00Z"


def test_no_time_leaves_the_field_unset():
    assert timestamp(None) is None


def test_a_time_kept_as_text_is_told_as_it_is():
    assert timestamp_of_text("2026-03-01T10:00:00.250Z").ToJsonString() == "2026-03-01T10:00:00.250Z"


@pytest.mark.parametrize(
    "message",
    [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=10**9)],
)
def test_an_impossible_time_names_its_field(message):
    with pytest.raises(InvalidField, match=r"^start_time: must be a time"):
        to_time(message, "start_time")


@given(st.timedeltas(timedelta(days=-3650), timedelta(days=3650)))
def test_a_span_survives_the_wire(span):
    assert to_span(duration(span), "ttl") == span


@pytest.mark.parametrize("message", [Duration(seconds=2**62), Duration(seconds=-(2**62))])
def test_an_impossible_span_names_its_field(message):
    with pytest.raises(InvalidField, match=r"^ttl: must be a duration"):
        to_span(message, "ttl")


def test_enumerations_go_by_name_without_their_prefix():
    assert enum_number(ACTION, "DENY") == policy_pb2.ACTION_DENY
    assert to_enum(Action, ACTION, policy_pb2.ACTION_ALLOW, "action") is Action.ALLOW


@pytest.mark.parametrize("number", [policy_pb2.ACTION_UNSPECIFIED, 3, -1])
def test_an_enumeration_value_without_meaning_names_its_field(number):
    with pytest.raises(InvalidField, match=r"^rules\[0\].action: must be one of ALLOW, DENY$"):
        to_enum(Action, ACTION, number, "rules[0].action")


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 100), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_page_sizes(asked, given):
    assert to_page_size(asked) == given


def test_a_negative_page_size_is_invalid():
    with pytest.raises(InvalidField, match="page_size"):
        to_page_size(-1)


@given(st.text(max_size=200).map("tenants/a/namespaces/".__add__))
def test_a_page_token_gives_its_name_back(name):
    assert to_last_name(page_token(name), "tenants/a/") == name


def test_no_token_means_the_first_page():
    assert to_last_name("", "tenants/a/") == ""
    assert page_token("") == ""


def test_a_token_of_another_list_is_invalid():
    with pytest.raises(InvalidField, match="page_token"):
        to_last_name(page_token("tenants/b/namespaces/c"), "tenants/a/")


@given(st.text(min_size=1, max_size=40))
def test_a_made_up_token_is_invalid_or_is_the_one_we_would_write(token):
    try:
        name = to_last_name(token, "")
    except InvalidField:
        name = None
    assert name is None or page_token(name) == token


@pytest.mark.parametrize(
    "token", ["dGVuYW50cy9h=", "dGVuYW50cy9h\n", "dGVuYW50cy9i_", "é", "A" * 100_000, "//8"]
)
def test_a_token_we_would_not_write_is_invalid(token):
    with pytest.raises(InvalidField, match="page_token"):
        to_last_name(token, "tenants/")


@pytest.mark.parametrize(("number", "text"), [(0, "UNSPECIFIED"), (1, "ALLOW"), (2, "DENY"), (7, "7")])
def test_the_text_of_a_value_is_its_name_without_the_prefix(number, text):
    assert enum_text(ACTION, number) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("2f1c6a0e-7f4e-4c39-9d5e-0a6f6f0c9b11", "2f1c6a0e-7f4e-4c39-9d5e-0a6f6f0c9b11"),
        ("2F1C6A0E-7F4E-4C39-9D5E-0A6F6F0C9B11", "2f1c6a0e-7f4e-4c39-9d5e-0a6f6f0c9b11"),
    ],
)
def test_request_id_is_a_uuid_in_lower_case_or_none(text, expected):
    assert to_request_id(text) == expected


@pytest.mark.parametrize(
    "text",
    ["once", "2f1c6a0e7f4e4c399d5e0a6f6f0c9b11", "{2f1c6a0e-7f4e-4c39-9d5e-0a6f6f0c9b11}", " ", "0" * 10_000],
)
def test_request_id_of_another_form_is_refused(text):
    with pytest.raises(InvalidField, match="request_id"):
        to_request_id(text)


def test_comment_has_at_most_256_bytes():
    assert to_comment("é" * 128) == "é" * 128
    with pytest.raises(LimitExceeded, match="comment"):
        to_comment("é" * 128 + "!")
