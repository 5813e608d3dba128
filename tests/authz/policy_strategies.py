"""Policies and requests from a world so small that rules often match; and what they mean, read plainly."""

import ipaddress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import re2
from hypothesis import strategies as st

from blindfold.predicates import DAYS, RULE_COMBINING, TRANSFORMERS
from kms.authz.matcher import transform
from kms.authz.selector import parse_selector
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import IdentityName
from kms.model.policy import Action, PolicyContent, Rule, RuleCombining

NAMES = ["a", "A", " a", "b", "YQ==", "%61", "x/../a", "a\nb"]
KEYS = ["app", "tier"]
VALUES = ["u", "v", ""]
ROLES = ["red", "blue"]
OPERATIONS = ["ENCRYPT", "SIGN", "GENERATE_RANDOM"]
AADS = ["", "YQ==", "YWI=", "Yg=="]
SELECTORS = [
    "app=u",
    "app!=u",
    "app in (u,v)",
    "tier notin (u)",
    "app",
    "!tier",
    "app=u,tier",
    "app in (u),app notin (u)",
    "tier==,app",
    "app notin (),!tier",
]
PREFIXES = ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.1/32"]
ADDRESSES = ["10.1.2.3", "10.200.0.1", "192.0.2.1", "::ffff:10.1.2.3", "2001:db8::1", "", "somewhere"]
TIMES = [
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
    datetime(2026, 3, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
]


def listed(values, most=3):
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


def some_of(**members):
    """An object with at least one of the members."""
    return st.fixed_dictionaries({}, optional=members).filter(bool)


MATCHERS = st.fixed_dictionaries(
    {},
    optional={
        "exact_values": listed(["a", "A", "b", "x/../a"]),
        "regex_values": listed(["a", "a.b", "[ab]", ".*", "(?i)A", "x.*", "a|b"]),
        "transformers": st.lists(st.sampled_from(TRANSFORMERS), min_size=1, max_size=3),
    },
).filter(lambda matcher: "exact_values" in matcher or "regex_values" in matcher)

MOMENTS = st.sampled_from([moment.isoformat().replace("+00:00", "Z") for moment in TIMES])
HOURS = st.sampled_from([("22:00", "06:00"), ("00:00", "01:30"), ("02:00", "03:00"), ("23:59", "00:00")])


@st.composite
def windows(draw):
    window = draw(st.fixed_dictionaries({}, optional={"not_before": MOMENTS, "not_after": MOMENTS}))
    if window.get("not_before", "0") >= window.get("not_after", "9"):
        del window["not_after"]
    if draw(st.booleans()):
        window["days"] = draw(listed(list(DAYS), 7))
    if draw(st.booleans()) or not window:
        window["start_time"], window["end_time"] = draw(HOURS)
    if "days" in window or "start_time" in window:
        zone = draw(st.sampled_from([None, "Europe/Prague", "Asia/Kolkata", "UTC"]))
        window |= {"time_zone": zone} if zone else {}
    return window


CLIENT_PREDICATES = {
    "client_name": st.sampled_from(["a", "b"]),
    "client_name_matcher": MATCHERS,
    "client_selector": st.fixed_dictionaries({"expressions": listed(SELECTORS)}),
    "label_matcher": st.fixed_dictionaries({"keys": listed(KEYS)}),
    "roles": listed(ROLES),
    "ip_prefixes": listed(PREFIXES),
    "ip_prefixes_except": listed(PREFIXES),
    "time_window": windows(),
    "description": st.sampled_from(["why", "because"]),
}
KMS_PREDICATES = {
    "operations": listed(OPERATIONS),
    "key_matcher": MATCHERS,
    "aad_matcher": some_of(equals=listed(AADS), starts_with=listed(AADS[1:]), lacks=listed(AADS[1:])),
}


@st.composite
def rules(draw, predicates):
    chosen = draw(st.lists(st.sampled_from(sorted(predicates)), max_size=3, unique=True))
    rule = {name: draw(predicates[name]) for name in chosen}
    return rule | {"action": draw(st.sampled_from(["ALLOW", "DENY"]))}


@st.composite
def policies(draw, *, kms=True, most=5):
    predicates = CLIENT_PREDICATES | (KMS_PREDICATES if kms else {})
    listed_rules = draw(st.lists(rules(predicates), max_size=most))
    named = [rule | {"name": f"rule {number}"} for number, rule in enumerate(listed_rules)]
    return {"rules": named, "rule_combining": draw(st.sampled_from(RULE_COMBINING))}


LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


def caller(**changes):
    fields = {"spiffe_id": "a", "names": ("a",), "address": "10.1.2.3"} | changes
    return Caller(identity=IdentityName("acme", "prod", "web"), **fields)


CALLERS = st.builds(
    caller,
    names=listed(NAMES).map(tuple),
    labels=LABELS,
    roles=st.frozensets(st.sampled_from(ROLES)),
    address=st.sampled_from(ADDRESSES),
)
REQUESTS = st.builds(
    AccessRequest,
    caller=CALLERS,
    time=st.sampled_from(TIMES),
    operation=st.sampled_from([None, *OPERATIONS]),
    resource_labels=LABELS,
    key_name=st.sampled_from(["", "a", "b"]),
    aad=st.sampled_from([None, b"", b"a", b"ab", b"b"]),
)

HOLDS, FAILS, ERROR = "holds", "fails", "error"


def plain_decision(content: PolicyContent, request: AccessRequest) -> tuple[Action, int | None]:
    """The action and the deciding rule, predicate by predicate, as docs/policies.md puts it."""
    outcomes = [_rule_outcome(rule, request) for rule in content.rules]
    rules = list(zip(content.rules, outcomes, range(len(outcomes)), strict=True))
    matching = [(rule.action, index) for rule, outcome, index in rules if outcome == HOLDS]
    errors = [(Action.DENY, index) for _, outcome, index in rules if outcome == ERROR]
    denying = [item for item in matching if item[0] is Action.DENY]
    allowing = [item for item in matching if item[0] is Action.ALLOW]
    ordered = {
        RuleCombining.FIRST_MATCH: sorted(matching + errors, key=lambda item: item[1]),
        RuleCombining.DENY_OVERRIDES: denying + errors + allowing,
        RuleCombining.ALLOW_OVERRIDES: errors + allowing + denying,
    }[content.rule_combining]
    return ordered[0] if ordered else (Action.DENY, None)


def _rule_outcome(rule: Rule, request: AccessRequest) -> str:
    outcomes = {test(getattr(rule, name), request) for name, test in _TESTS.items() if rule.is_set(name)}
    return FAILS if FAILS in outcomes else ERROR if ERROR in outcomes else HOLDS


def _name_matches(matcher, names):
    texts = [transform(name, matcher.transformers) for name in names]
    options = re2.Options()
    options.dot_nl = True
    return any(
        text in matcher.exact_values
        or any(re2.compile(r, options).fullmatch(text) for r in matcher.regex_values)
        for text in texts
        if text is not None
    )


def _says(truth):
    return HOLDS if truth else FAILS


def _inside(prefixes, request):
    try:
        address = ipaddress.ip_address(request.caller.address)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(prefix) for prefix in prefixes)


def _key(matcher, request):
    if not request.key_name:
        return FAILS if request.operation == "GENERATE_RANDOM" else ERROR
    return _says(_name_matches(matcher, [request.key_name]))


def _window(window, request):
    now = request.time
    if window.not_before and now < window.not_before:
        return FAILS
    if window.not_after and now >= window.not_after:
        return FAILS
    local = now.astimezone(ZoneInfo(window.time_zone or "UTC"))
    hour = local.time()
    day = local
    if window.start_time:
        spans = window.end_time <= window.start_time
        if spans and hour < window.end_time:
            day = local - timedelta(days=1)
        elif hour < window.start_time or (not spans and hour >= window.end_time):
            return FAILS
    return _says(not window.days or DAYS[day.weekday()] in window.days)


def _aad(matcher, request):
    aad = request.aad or b""
    starts = any(aad.startswith(value) for value in matcher.starts_with)
    asked = matcher.equals or matcher.starts_with
    return _says((not asked or aad in matcher.equals or starts) and all(v not in aad for v in matcher.lacks))


def _address_test(wanted):
    def test(prefixes, request):
        inside = _inside(prefixes, request)
        return ERROR if inside is None else _says(inside is wanted)

    return test


_TESTS = {
    "client_name": lambda name, request: _says(name in request.caller.names),
    "client_name_matcher": lambda matcher, request: _says(_name_matches(matcher, request.caller.names)),
    "client_selector": lambda selector, request: _says(
        any(parse_selector(text).matches(request.caller.labels) for text in selector.expressions)
    ),
    "label_matcher": lambda matcher, request: _says(
        all(
            key in request.caller.labels and request.caller.labels[key] == request.resource_labels.get(key)
            for key in matcher.keys
        )
    ),
    "roles": lambda roles, request: _says(set(roles) & request.caller.roles),
    "ip_prefixes": _address_test(True),
    "ip_prefixes_except": _address_test(False),
    "operations": lambda operations, request: (
        ERROR if request.operation is None else _says(request.operation in operations)
    ),
    "key_matcher": _key,
    "time_window": _window,
    "aad_matcher": _aad,
}
