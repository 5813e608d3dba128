"""What an offline sealer knows of the policy language: an unknown name refuses sealing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.errors import DocumentInvalid
from blindfold.predicates import DAYS, SECRET_PREDICATES, TRANSFORMERS, check_rules_known

FULL = {
    "name": "r",
    "action": "DENY",
    "description": "why",
    "client_name": "a",
    "client_name_matcher": {
        "exact_values": ["a"],
        "regex_values": [".*"],
        "transformers": list(TRANSFORMERS),
    },
    "client_selector": {"expressions": ["app=web"]},
    "label_matcher": {"keys": ["team"]},
    "roles": ["reader"],
    "ip_prefixes": ["10.0.0.0/8"],
    "ip_prefixes_except": ["10.1.0.0/16"],
    "time_window": {
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2027-01-01T00:00:00Z",
        "days": list(DAYS),
        "start_time": "08:00",
        "end_time": "16:00",
        "time_zone": "Europe/Prague",
    },
}


def rules(**changes):
    return [{"name": "first", "action": "ALLOW"}, {"name": "r", "action": "ALLOW"} | changes]


REFUSED = [
    ({"foo": 1}, 'rules[1]: unknown predicate "foo"'),
    ({"operations": ["SIGN"]}, 'rules[1]: unknown predicate "operations"'),
    ({"x\n" + "y" * 100: 1}, 'rules[1]: unknown predicate "x\\n' + "y" * 62 + '"'),
    ({"action": "AUDIT"}, 'rules[1].action: unknown name "AUDIT"'),
    ({"action": True}, "rules[1].action: must be a string"),
    ({"name": None}, "rules[1].name: must be a string"),
    ({"description": 1}, "rules[1].description: must be a string"),
    ({"client_name": ["a"]}, "rules[1].client_name: must be a string"),
    ({"client_name_matcher": "a"}, "rules[1].client_name_matcher: must be an object with at least one field"),
    ({"client_name_matcher": {}}, "rules[1].client_name_matcher: must be an object with at least one field"),
    ({"client_name_matcher": {"suffix": 1}}, 'rules[1].client_name_matcher: unknown field "suffix"'),
    (
        {"client_name_matcher": {"transformers": ["TRIM", "ROT13"]}},
        'rules[1].client_name_matcher.transformers[1]: unknown name "ROT13"',
    ),
    ({"time_window": {"days": ["FRYDAY"]}}, 'rules[1].time_window.days[0]: unknown name "FRYDAY"'),
    ({"roles": []}, "rules[1].roles: must be a list of at least one string"),
    ({"roles": "a"}, "rules[1].roles: must be a list of at least one string"),
    ({"roles": ["a", 1]}, "rules[1].roles[1]: must be a string"),
]


def test_knows_every_predicate():
    assert set(SECRET_PREDICATES) | {"name", "action", "description"} == set(FULL)
    check_rules_known([FULL])
    with pytest.raises(DocumentInvalid):
        check_rules_known([FULL, FULL | {"more": ""}])


def test_a_policy_without_rules_is_known():
    check_rules_known([])
    with pytest.raises(DocumentInvalid, match="rules: must be a list"):
        check_rules_known(None)


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refuses_and_names_the_path(changes, message):
    with pytest.raises(DocumentInvalid) as caught:
        check_rules_known(rules(**changes))
    assert str(caught.value) == message


@pytest.mark.parametrize("missing", ["name", "action"])
def test_a_rule_has_a_name_and_an_action(missing):
    rule = {name: value for name, value in FULL.items() if name != missing}
    with pytest.raises(DocumentInvalid, match=rf"rules\[0\]: {missing} is missing"):
        check_rules_known([rule])


@pytest.mark.parametrize("rule", [None, "r", [], {}])
def test_a_rule_is_an_object(rule):
    with pytest.raises(DocumentInvalid, match=r"rules\[0\]: must be an object with at least one predicate"):
        check_rules_known([rule])


def test_at_most_256_rules():
    check_rules_known([FULL] * 256)
    with pytest.raises(DocumentInvalid, match="257 rules, at most 256"):
        check_rules_known([FULL] * 257)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*FULL, "keys", "days", "x"]), inner),
    max_leaves=8,
)


@given(values)
def test_any_json_is_known_or_refused(value):
    try:
        check_rules_known(value)
    except DocumentInvalid:
        return
    assert isinstance(value, list)
    assert all(set(rule) <= set(FULL) for rule in value)
