"""Rate limits as values, and as the operator writes them."""

import pytest

from kms.errors import InvalidField, LimitExceeded
from kms.model.rate_limit import (
    MAX_NUMBER,
    IdentifierKind,
    Limit,
    OperationClass,
    Period,
    Rate,
    UserIdentifier,
    parse_limit,
)

SECOND, MINUTE, HOUR = Period.SECOND, Period.MINUTE, Period.HOUR


@pytest.mark.parametrize(("period", "seconds"), [(SECOND, 1), (MINUTE, 60), (HOUR, 3600)])
def test_periods_are_their_nanoseconds(period, seconds):
    assert period.nanoseconds == seconds * 10**9


@pytest.mark.parametrize(
    ("number", "burst", "field", "error"),
    [
        (0, 1, "number", InvalidField),
        (1, 0, "burst", InvalidField),
        (-1, 1, "number", InvalidField),
        (MAX_NUMBER + 1, 1, "number", LimitExceeded),
        (1, MAX_NUMBER + 1, "burst", LimitExceeded),
    ],
)
def test_rate_is_from_one_to_a_million(number, burst, field, error):
    with pytest.raises(InvalidField) as caught:
        Rate(number, SECOND, burst)
    assert (type(caught.value), caught.value.field) == (error, field)


@pytest.mark.parametrize("header", ["x-user", "a", "tenant_user.id", "x" * 63])
def test_header_has_a_plain_name(header):
    assert UserIdentifier(IdentifierKind.HEADER, header).header == header


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        *(
            (IdentifierKind.HEADER, text)
            for text in ("", "X-User", "a b", "grpc-timeout", "key-bin", ":path")
        ),
        *((IdentifierKind.HEADER, text) for text in ("x" * 64, "ü", "-a", "a\n")),
        (IdentifierKind.IDENTITY, "x-user"),
        (IdentifierKind.ADDRESS, "x-user"),
    ],
)
def test_header_that_is_none_or_is_not_wanted_is_refused(kind, header):
    with pytest.raises(InvalidField) as caught:
        UserIdentifier(kind, header)
    assert caught.value.field == "header"


@pytest.mark.parametrize(
    ("text", "classes", "rate", "kind"),
    [
        ("USE 100/second", "USE", Rate(100, SECOND, 100), "IDENTITY"),
        ("ENROL 600/minute burst 100 by address", "ENROL", Rate(600, MINUTE, 100), "ADDRESS"),
        ("OPEN,USE 5/hour burst 7 by identity", "OPEN USE", Rate(5, HOUR, 7), "IDENTITY"),
        ("READ,WRITE 1/second by address", "READ WRITE", Rate(1, SECOND, 1), "ADDRESS"),
    ],
)
def test_operator_writes_a_limit_in_a_line(text, classes, rate, kind):
    expected = frozenset(map(OperationClass, classes.split()))
    assert parse_limit(text) == Limit(text, expected, rate, UserIdentifier(IdentifierKind(kind)))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "USE",
            "USE 1",
            "USE 0/second",
            "USE 1/day",
            "use 1/second",
            "EVERY 1/second",
            "USE,,OPEN 1/second",
        ),
        *(
            "USE 1/second burst 0",
            "USE 1/second by header",
            "USE  1/second",
            "USE 1/second ",
            "USE 9999999/second",
        ),
        *("USE 1/second by address burst 3", "USE -1/second", "USE 1.5/second", "USE 1/second burst"),
    ],
)
def test_line_that_is_no_limit_is_refused(text):
    with pytest.raises(InvalidField):
        parse_limit(text)
