"""Prefix sets in policies: what they stand for, and that nothing is guessed where one is missing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_strategies import PREFIXES, REQUESTS, policies

from kms.authz.compile import compile_policy, read_policy, validate_policy
from kms.authz.decide import decide
from kms.authz.prefix_sets import ADDRESS_PREDICATES, references, resolved
from kms.errors import InvalidField, LimitExceeded
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy, to_json

OFFICE = {"office": ("10.1.0.0/16", "192.0.2.1/32")}
SET = "prefixSets/office"


def policy(*prefixes, predicate="ip_prefixes", action="ALLOW"):
    return {"rules": [{"name": "a", "action": action, predicate: list(prefixes), "client_name": "a"}]}


def test_set_stands_for_its_prefixes_each_once():
    content = parse_policy(policy("10.0.0.0/8", SET, "10.1.0.0/16"), PolicyKind.SECRET)
    assert references(content) == {"office"}
    without = resolved(content, OFFICE)
    assert without.rules[0].ip_prefixes == ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32")
    assert references(without) == frozenset()
    assert to_json(content)["rules"][0]["ip_prefixes"] == ["10.0.0.0/8", SET, "10.1.0.0/16"]


@pytest.mark.parametrize("text", ["prefixSets/", "prefixSets/Office", "prefixSets/a/b", "prefixset/office"])
def test_name_of_a_set_has_the_form_of_an_id(text):
    with pytest.raises(InvalidField, match=r"rules\[0\]\.ip_prefixes\[0\]"):
        parse_policy(policy(text), PolicyKind.KMS)


@pytest.mark.parametrize("predicate", ADDRESS_PREDICATES)
def test_missing_set_is_named_with_its_place(predicate):
    obj = policy("10.0.0.0/8", SET, predicate=predicate)
    words = rf"rules\[0\]\.{predicate}\[1\]: there is no prefix set office"
    for act in (
        lambda: compile_policy(parse_policy(obj, PolicyKind.KMS)),
        lambda: read_policy(obj, PolicyKind.KMS, {"other": ("10.0.0.0/8",)}),
        lambda: validate_policy(obj, PolicyKind.KMS),
        lambda: resolved(parse_policy(obj, PolicyKind.KMS), {}),
    ):
        with pytest.raises(InvalidField, match=words):
            act()
    assert read_policy(obj, PolicyKind.KMS).rules[0].is_set(predicate)


def test_rule_has_no_more_prefixes_in_a_document_than_it_may_have():
    many = tuple(f"10.{number}.0.0/16" for number in range(256))
    content = parse_policy(policy(SET), PolicyKind.SECRET)
    assert len(resolved(content, {"office": many}).rules[0].ip_prefixes) == 256
    with pytest.raises(LimitExceeded, match=r"rules\[0\]\.ip_prefixes: has 257 items"):
        resolved(content, {"office": (*many, "192.0.2.1/32")})


def test_warnings_are_about_what_sets_stand_for():
    rule = policy(SET)["rules"][0] | {"ip_prefixes_except": ["10.0.0.0/8"]}
    inside, outside = {"office": ("10.1.0.0/16",)}, {"office": ("192.0.2.1/32",)}
    found = validate_policy({"rules": [rule]}, PolicyKind.KMS, sets=inside)[1]
    assert [warning.code for warning in found] == ["CONTRADICTORY"]
    assert validate_policy({"rules": [rule]}, PolicyKind.KMS, sets=outside)[1] == ()


SETS = st.fixed_dictionaries(
    {
        name: st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=3, unique=True)
        for name in ("one", "two")
    }
)


@given(policies(), SETS, REQUESTS, st.data())
def test_policy_with_sets_decides_as_the_one_without(described, sets, request_, data):
    for rule in described["rules"]:
        for predicate in ADDRESS_PREDICATES:
            if predicate in rule:
                named = data.draw(st.lists(st.sampled_from(sorted(sets)), unique=True))
                rule[predicate] = [*rule[predicate], *(f"prefixSets/{name}" for name in named)]
    content = parse_policy(described, PolicyKind.KMS)
    with_sets, without = compile_policy(content, sets), compile_policy(resolved(content, sets))
    one, other = decide(with_sets, request_), decide(without, request_)
    assert replace(one, trace=other.trace) == other
