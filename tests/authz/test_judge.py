"""Verdicts about requests of which parts are not known: what they rest on, and that they never guess."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_strategies import AADS, REQUESTS, TIMES, caller, policies

from kms.authz.compile import compile_policy
from kms.authz.decide import Reason, decide, decide_first
from kms.authz.judge import DENIED, OF_AAD, OF_ADDRESS, OF_TIME, Verdict, both, judge
from kms.model.access_request import AccessRequest
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy

ALL = (*OF_ADDRESS, *OF_TIME, *OF_AAD)
SETS = st.lists(policies(), min_size=1, max_size=3)
KNOWN_ADDRESSES = st.sampled_from(["10.1.2.3", "10.200.0.1", "192.0.2.1", "2001:db8::1"])
# As a request is completed: the address, the time and the additional data.
COMPLETIONS = st.tuples(KNOWN_ADDRESSES, st.sampled_from(TIMES), st.sampled_from([b"", b"a", b"ab", b"b"]))
OFFICE = {"ip_prefixes": ["10.0.0.0/8"]}
NIGHT = {"time_window": {"start_time": "22:00", "end_time": "06:00"}}
OTHERS = {"client_name": "b"}
ORDERS = {"aad_matcher": {"starts_with": [AADS[1]]}}
REQUEST = AccessRequest(caller=caller(), time=TIMES[0], operation="ENCRYPT", key_name="a")


def compiled(policy):
    return compile_policy(parse_policy(policy, PolicyKind.KMS))


def rules(*described, combining="FIRST_MATCH"):
    """Rules as (name, action, predicates)."""
    listed = [{"name": name, "action": action} | predicates for name, action, predicates in described]
    return compiled({"rules": listed, "rule_combining": combining})


def completed(request, completion):
    address, time, aad = completion
    return replace(request, caller=replace(request.caller, address=address), time=time, aad=aad)


ALLOW, DENY, UNKNOWN = Verdict
# Rules, and the verdict with nothing known of address, time and additional data: with what it rests on.
CASES = [
    ([("a", "ALLOW", {})], (ALLOW, ("a",), ())),
    ([("a", "DENY", {})], (DENY, (), ())),
    ([], (DENY, (), ())),
    ([("a", "ALLOW", OFFICE)], (UNKNOWN, ("a",), ("ip_prefixes",))),
    ([("a", "DENY", OFFICE), ("b", "ALLOW", {})], (UNKNOWN, ("b",), ("ip_prefixes",))),
    ([("a", "ALLOW", OFFICE), ("b", "ALLOW", {})], (ALLOW, ("a", "b"), ())),
    ([("a", "DENY", NIGHT), ("b", "DENY", {})], (DENY, (), ())),
    ([("a", "ALLOW", {}), ("b", "DENY", NIGHT)], (ALLOW, ("a",), ())),
    ([("a", "ALLOW", NIGHT | ORDERS)], (UNKNOWN, ("a",), ("time_window", "aad_matcher"))),
    ([("a", "ALLOW", OFFICE | OTHERS), ("b", "ALLOW", ORDERS)], (UNKNOWN, ("b",), ("aad_matcher",))),
    ([("a", "ALLOW", ORDERS | OTHERS)], (DENY, (), ())),
]  # fmt: skip


@pytest.mark.parametrize(("described", "expected"), CASES)
def test_verdict_says_what_it_rests_on(described, expected):
    judgement = judge([rules(*described)], REQUEST, ALL)
    assert (judgement.verdict, judgement.rules, judgement.depends_on) == expected


@pytest.mark.parametrize(
    ("combining", "verdict"),
    [("FIRST_MATCH", ALLOW), ("DENY_OVERRIDES", UNKNOWN), ("ALLOW_OVERRIDES", ALLOW)],
)
def test_way_of_combining_counts(combining, verdict):
    policy = rules(("a", "ALLOW", {}), ("b", "DENY", OFFICE), combining=combining)
    assert judge([policy], REQUEST, ALL).verdict is verdict


def test_real_error_denies_whatever_is_not_known():
    lost = replace(REQUEST, caller=caller(address=""))
    policy = rules(("a", "ALLOW", OFFICE | ORDERS))
    assert judge([policy], lost, OF_AAD).verdict is DENY
    assert judge([rules(("a", "DENY", OFFICE | ORDERS), ("b", "ALLOW", {}))], lost, OF_AAD).verdict is UNKNOWN


def test_exception_denies(monkeypatch):
    class Broken(dict):
        def get(self, key, default=None):
            raise RuntimeError

    policy = rules(("a", "ALLOW", {"client_selector": {"expressions": ["app=u"]}}))
    asked = replace(REQUEST, caller=caller(labels=Broken()))
    assert decide(policy, asked).reason is Reason.EVALUATION_ERROR
    assert judge([policy], asked, ALL).verdict is DENY


def test_later_policy_of_a_set_counts_where_an_earlier_one_may_match_nothing():
    first = rules(("office", "DENY", OFFICE))
    assert judge([first], REQUEST, ALL).verdict is DENY
    judgement = judge([first, rules(("all", "ALLOW", {}))], REQUEST, ALL)
    assert (judgement.verdict, judgement.rules, judgement.depends_on) == (UNKNOWN, ("all",), ("ip_prefixes",))
    stopped = judge([rules(("no", "DENY", {})), rules(("all", "ALLOW", {}))], REQUEST, ALL)
    assert stopped.verdict is DENY


@given(SETS, REQUESTS)
def test_with_nothing_unknown_the_verdict_is_the_decision(described, request_):
    policies_ = [compiled(policy) for policy in described]
    policy, decision = decide_first(policies_, request_)
    judgement = judge(policies_, request_)
    assert judgement.verdict == decision.action
    names = (policy.content.rules[decision.rule_index].name,) if decision.is_allowed else ()
    assert (judgement.rules, judgement.depends_on) == (names, ())


@given(SETS, REQUESTS, COMPLETIONS, st.sets(st.sampled_from([OF_ADDRESS, OF_TIME, OF_AAD])))
def test_verdict_that_is_given_holds_whatever_was_not_known(described, request_, completion, gaps):
    policies_ = [compiled(policy) for policy in described]
    whole = completed(request_, completion)
    asked = replace(
        whole,
        caller=replace(whole.caller, address="" if OF_ADDRESS in gaps else whole.caller.address),
        time=TIMES[0] if OF_TIME in gaps else whole.time,
        aad=None if OF_AAD in gaps else whole.aad,
    )
    judgement = judge(policies_, asked, [name for names in gaps for name in names])
    policy, decision = decide_first(policies_, whole)
    if judgement.verdict is not UNKNOWN:
        assert judgement.verdict == decision.action
    assert bool(judgement.depends_on) == (judgement.verdict is UNKNOWN)
    if decision.is_allowed:
        assert policy.content.rules[decision.rule_index].name in judgement.rules


@given(policies(), REQUESTS, COMPLETIONS, st.data())
def test_policies_with_equal_residues_decide_alike(described, request_, completion, data):
    listed = described["rules"]
    place = data.draw(st.integers(0, len(listed)))
    other = described | {"rules": [rule | {"description": "changed"} for rule in listed]}
    strange = {"name": "strange", "action": "DENY", "client_name": "zz"} | data.draw(
        st.sampled_from([{}, ORDERS])
    )
    other["rules"].insert(place, strange)
    before, after = compiled(described), compiled(other)
    residues = [judge([policy], request_, ALL).residue for policy in (before, after)]
    assert residues[0] == residues[1]
    shorter = compiled(described | {"rules": listed[:place]})
    if judge([shorter], request_, ALL).residue == residues[0]:
        whole = completed(request_, completion)
        assert decide(shorter, whole).action is decide(before, whole).action


@pytest.mark.parametrize("one", [("a", "ALLOW", {}), ("a", "DENY", {}), ("a", "ALLOW", OFFICE)])
@pytest.mark.parametrize("other", [("b", "ALLOW", {}), ("b", "DENY", {}), ("b", "ALLOW", ORDERS)])
def test_both_must_allow(one, other):
    each = [judge([rules(item)], REQUEST, ALL) for item in (one, other)]
    joined = both(*each)
    if DENY in {item.verdict for item in each}:
        assert replace(joined, residue=None) == DENIED
    else:
        assert joined.rules == ("a", "b")
        assert joined.depends_on == each[0].depends_on + each[1].depends_on
        assert joined.verdict is (UNKNOWN if joined.depends_on else ALLOW)
