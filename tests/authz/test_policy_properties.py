"""What holds for every policy and every request."""

import json

from hypothesis import given
from hypothesis import strategies as st
from policy_strategies import REQUESTS, plain_decision, policies

from blindfold.predicates import check_rules_known
from kms.authz.compile import compile_policy, validate_policy
from kms.authz.decide import Reason, decide
from kms.authz.explain import explain
from kms.authz.implication import Implications
from kms.model.policy import Action, PolicyContent, PolicyKind, RuleCombining
from kms.model.policy_json import parse_policy, to_json


def decided(policy, request):
    return decide(compile_policy(parse_policy(policy, PolicyKind.KMS)), request)


def is_allowed(policy, request):
    return decided(policy, request).action is Action.ALLOW


@given(policies(), REQUESTS)
def test_the_compiled_decision_is_the_plain_reading(policy, request):
    content = parse_policy(policy, PolicyKind.KMS)
    decision = decide(compile_policy(content), request)
    assert (decision.action, decision.rule_index) == plain_decision(content, request)


@given(policies(), REQUESTS, st.data())
def test_adding_a_deny_rule_never_allows_more(policy, request, data):
    more = data.draw(policies(most=1).filter(lambda one: len(one["rules"]) == 1))["rules"][0]
    rules = policy["rules"]
    place = data.draw(st.integers(0, len(rules)))
    added = more | {"name": "added", "action": "DENY"}
    extended = policy | {"rules": [*rules[:place], added, *rules[place:]]}
    assert not is_allowed(extended, request) or is_allowed(policy, request)


@given(policies(), REQUESTS)
def test_no_match_denies_and_an_error_denies(policy, request):
    decision = decided(policy, request)
    if decision.reason is not Reason.RULE_MATCHED:
        assert decision.action is Action.DENY
    assert (decision.reason is Reason.NO_RULE_MATCHED) == (decision.rule_index is None)


@given(policies(), REQUESTS, st.data())
def test_the_order_of_rules_is_irrelevant_under_overrides(policy, request, data):
    overrides = data.draw(st.sampled_from(["DENY_OVERRIDES", "ALLOW_OVERRIDES"]))
    policy = policy | {"rule_combining": overrides}
    shuffled = policy | {"rules": data.draw(st.permutations(policy["rules"]))}
    assert is_allowed(policy, request) == is_allowed(shuffled, request)


@given(policies(), REQUESTS)
def test_deciding_twice_gives_the_same(policy, request):
    compiled = compile_policy(parse_policy(policy, PolicyKind.KMS))
    assert decide(compiled, request) == decide(compiled, request)


@given(policies(), REQUESTS)
def test_a_rule_that_another_implies_never_matches_alone(policy, request):
    content = parse_policy(policy, PolicyKind.KMS)
    implications = Implications(content.rules)
    for narrow, rule in enumerate(content.rules):
        for wide, other in enumerate(content.rules):
            if implications.implies(narrow, wide):
                assert not _matches_alone(rule, request) or _matches_alone(other, request)


def _matches_alone(rule, request):
    alone = PolicyContent(PolicyKind.KMS, (rule,), RuleCombining.FIRST_MATCH)
    return decide(compile_policy(alone), request).reason is Reason.RULE_MATCHED


@given(policies(), REQUESTS)
def test_an_explanation_tells_of_every_rule_up_to_the_deciding_one(policy, request):
    compiled = compile_policy(parse_policy(policy, PolicyKind.KMS))
    explanation = explain(compiled, request)
    decision = explanation.decision
    assert decision == decide(compiled, request)
    expected = len(policy["rules"]) if decision.rule_index is None else decision.rule_index + 1
    assert [rule.index for rule in explanation.rules] == list(range(expected))
    if decision.reason is Reason.RULE_MATCHED:
        assert explanation.rules[-1].text == "matched, and decided"
        assert explanation.rules[-1].predicate == ""
    if decision.reason is Reason.NO_RULE_MATCHED:
        assert all(rule.predicate for rule in explanation.rules)


@given(policies())
def test_json_round_trip(policy):
    content = parse_policy(policy, PolicyKind.KMS)
    again = to_json(content)
    assert parse_policy(json.loads(json.dumps(again)), PolicyKind.KMS) == content
    assert to_json(parse_policy(again, PolicyKind.KMS)) == again


@given(policies(kms=False))
def test_an_offline_sealer_knows_every_rule_that_the_kms_writes(policy):
    content, _ = validate_policy(policy, PolicyKind.SECRET)
    check_rules_known(to_json(content)["rules"])
    assert content.kind is PolicyKind.SECRET
