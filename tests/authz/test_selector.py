"""Label selectors: the grammar and meaning of apimachinery, without `<` and `>`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.authz.label_constraint import constraints
from kms.authz.selector import Requirement, Selector, parse_selector
from kms.errors import InvalidField

# Text, and how it prints: sorted by key, values sorted, `=` and `==` as written.
PARSED = [
    ("", ""),
    ("x=a,y=b,z=c", "x=a,y=b,z=c"),
    ("x!=a,y=b", "x!=a,y=b"),
    ("x=", "x="),
    ("x= ,z= ", "x=,z="),
    ("!x", "!x"),
    ("! x", "!x"),
    ("\rx", "x"),
    ("a ", "a"),
    ("z,a", "a,z"),
    ("x==a", "x==a"),
    ("this-is-a-dns.domain.com/key-with-dash", "this-is-a-dns.domain.com/key-with-dash"),
    (
        "0.1.2.domain/99 notin (10.10.100.1, tick.tack.clock)",
        "0.1.2.domain/99 notin (10.10.100.1,tick.tack.clock)",
    ),
    ("foo  in\t (abc)", "foo in (abc)"),
    ("x  notin\n\t(def,abc)", "x notin (abc,def)"),
    ("x in (abc,)", "x in (,abc)"),
    ("x in (,abc)", "x in (,abc)"),
    ("x in (a,,b)", "x in (,a,b)"),
    ("x in (a,,,)", "x in (,a)"),
    ("x in ()", "x in ()"),
    ("x notin ( )", "x notin ()"),
    ("x notin (abc,def),bar,z in (),w", "bar,w,x notin (abc,def),z in ()"),
    ("a in (x,y,notin, z,in)", "a in (in,notin,x,y,z)"),
    ("notin=in", "notin=in"),
    ("in in (in)", "in in (in)"),
    ("!in", "!in"),
    ("x in (a,a)", "x in (a)"),
    ("x=a,x!=b", "x=a,x!=b"),
    ("A_b.c-D=E_f.g-H", "A_b.c-D=E_f.g-H"),
    ("1234 in (5)", "1234 in (5)"),
]

# Text, the position of the fault counted from 1, and a word of the message.
REFUSED = [
    ("x=a||y=b", 3, "label value"),
    ("x==a==b", 5, "','"),
    ("!x=a", 3, "','"),
    ("!!x", 2, "key"),
    (",x,y", 1, "key"),
    ("x,,y", 3, "key"),
    ("x nott in (y)", 3, "one of"),
    ("a in (xyz),", 12, "the text ends"),
    ("a in (xyz)b notin ()", 11, "','"),
    ("a in (xyz abc)", 11, "')'"),
    ("a in (b", 8, "the text ends"),
    ("a in (b,", 9, "the text ends"),
    ("a in (b=c)", 8, "')'"),
    ("a in (!b)", 7, "label value"),
    ("a in (b,,)", 10, "label value"),
    ("a in (,,)", 9, "label value"),
    ("a in b", 6, "'('"),
    ("a in", 5, "'('"),
    ("a notin(", 9, "the text ends"),
    ("a (", 3, "one of"),
    ("(", 1, "key"),
    ("x===a", 4, "label value"),
    ("x=(a)", 3, "label value"),
    ("x>1", 2, "one of"),
    ("x<1", 2, "one of"),
    ("x=-a", 3, "label value"),
    ("x=" + "a" * 64, 3, "63"),
    ("-x", 1, "label key"),
    ("a" * 64, 1, "label key"),
    ("a" * 254 + "/x", 1, "label key"),
    ("/x", 1, "label key"),
    ("a/", 1, "label key"),
    ("a/b/c", 1, "label key"),
    ("Upper.com/x", 1, "label key"),
    ("a..b/x", 1, "label key"),
    ("x\0", 1, "label key"),
    ("x=é", 3, "label value"),
    ("x\N{NO-BREAK SPACE}in (a)", 1, "label key"),
]

# Selector, labels, and whether it holds.
HELD = [
    ("", {}, True),
    ("x=y", {"x": "y"}, True),
    ("x=y", {"x": "z"}, False),
    ("x=y", {}, False),
    ("x==y", {"x": "y"}, True),
    ("x=", {"x": ""}, True),
    ("x=", {}, False),
    ("x!=y", {"x": "z"}, True),
    ("x!=y", {"x": "y"}, False),
    ("x!=y", {}, True),
    ("x!=", {}, True),
    ("x!=", {"x": ""}, False),
    ("x in (a,b)", {"x": "b"}, True),
    ("x in (a,b)", {"x": "c"}, False),
    ("x in (a,b)", {}, False),
    ("x in ()", {}, False),
    ("x in ()", {"x": ""}, True),
    ("x notin (a,b)", {"x": "c"}, True),
    ("x notin (a,b)", {"x": "a"}, False),
    ("x notin (a,b)", {}, True),
    ("x notin ()", {"x": ""}, False),
    ("x", {"x": ""}, True),
    ("x", {"y": "x"}, False),
    ("!x", {"y": "z"}, True),
    ("!x", {"x": ""}, False),
    ("foo=bar,baz=blah", {"foo": "bar", "baz": "blah"}, True),
    ("foo=bar,foobar=bar,baz=blah", {"foo": "bar", "baz": "blah"}, False),
    ("x notin (),y", {"y": ""}, True),
    ("notin=in", {"notin": "in"}, True),
]


@pytest.mark.parametrize(("text", "printed"), PARSED)
def test_prints_in_canonical_form(text, printed):
    assert str(parse_selector(text)) == printed


@pytest.mark.parametrize(("text", "position", "word"), REFUSED)
def test_refuses_with_the_position_of_the_fault(text, position, word):
    with pytest.raises(InvalidField) as caught:
        parse_selector(text, "rules[0].expressions[1]")
    assert caught.value.message.startswith(f"rules[0].expressions[1]: position {position}: ")
    assert word in caught.value.description


@pytest.mark.parametrize(("text", "labels", "holds"), HELD)
def test_holds_as_in_kubernetes(text, labels, holds):
    assert parse_selector(text).matches(labels) is holds


def test_an_error_quotes_no_more_than_is_readable():
    with pytest.raises(InvalidField) as caught:
        parse_selector("x " + "a" * 4000)
    assert len(caught.value.message) < 250


names = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True)
keys = names | st.builds(
    "{}/{}".format, st.from_regex(r"[a-z0-9]{1,5}(\.[a-z]{1,3})?", fullmatch=True), names
)
values = st.just("") | names
requirements = (
    st.builds(Requirement, keys, st.sampled_from(["exists", "!"]))
    | st.builds(
        lambda key, op, value: Requirement(key, op, (value,)),
        keys,
        st.sampled_from(["=", "==", "!="]),
        values,
    )
    | st.builds(
        lambda key, op, listed: Requirement(key, op, tuple(sorted(listed))),
        keys,
        st.sampled_from(["in", "notin"]),
        st.sets(values, min_size=1, max_size=5),
    )
)
selectors = st.lists(requirements, max_size=6).map(
    lambda found: Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))
)


@given(selectors)
def test_parse_is_the_inverse_of_print(selector):
    assert parse_selector(str(selector)) == selector


@given(st.text(alphabet="xy =!(),<in\t/-é\0", max_size=12))
def test_any_text_is_parsed_or_refused(text):
    try:
        selector = parse_selector(text)
    except InvalidField:
        return
    assert parse_selector(str(selector)) == selector


few = st.lists(
    st.sampled_from(["x=a", "x!=a", "x in (a,b)", "x notin (b)", "x notin (a,c)", "x", "!x", "x=", "y=a"]),
    max_size=4,
).map(lambda texts: parse_selector(",".join(texts)))
labels = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["a", "b", "c", ""]))


@given(few, labels)
def test_constraints_say_what_the_selector_says(selector, labels):
    held = all(
        asked.absent if key not in labels else (labels[key] in asked.values) is not asked.all_but
        for key, asked in constraints(selector).items()
    )
    assert held is selector.matches(labels)
    if any(asked.is_impossible for asked in constraints(selector).values()):
        assert not held


@given(few, few, labels)
def test_an_implied_constraint_holds_too(narrow, wide, labels):
    given_, asked = constraints(narrow), constraints(wide)
    if narrow.matches(labels) and all(key in given_ and given_[key].implies(asked[key]) for key in asked):
        assert wide.matches(labels)
