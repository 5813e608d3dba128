"""Transformers, and the set of regular expressions."""

import pytest

from kms.authz.matcher import TRANSFORMS, RegexFault, RegexSet, transform
from kms.errors import InvalidField, LimitExceeded

# Transformers, a name, and what becomes of it; None: it does not decode, and equals nothing.
TRANSFORMED = [
    ((), " A ", " A "),
    (("LOWER_CASE",), "WEB.Example", "web.example"),
    (("UPPER_CASE",), "web.Example", "WEB.EXAMPLE"),
    (("LOWER_CASE",), "\N{KELVIN SIGN}ing É", "\N{KELVIN SIGN}ing É"),
    (("UPPER_CASE",), "\N{LATIN SMALL LETTER LONG S}traße", "\N{LATIN SMALL LETTER LONG S}TRAßE"),
    (("TRIM",), " \t\r\n\v\fa b\n", "a b"),
    (("TRIM",), "\N{NO-BREAK SPACE}a", "\N{NO-BREAK SPACE}a"),
    (("TRIM_LEFT",), " a ", "a "),
    (("TRIM_RIGHT",), " a ", " a"),
    (("REMOVE_WHITESPACE",), " a\tb\n", "ab"),
    (("URL_DECODE",), "a%2Fb%c3%a9+", "a/bé+"),
    (("URL_DECODE",), "%2541", "%41"),
    (("URL_DECODE", "URL_DECODE"), "%2541", "A"),
    (("URL_DECODE",), "100%", None),
    (("URL_DECODE",), "%zz", None),
    (("URL_DECODE",), "%ff", None),
    (("URL_DECODE",), "%0a\n", "\n\n"),
    (("BASE64_DECODE",), "ZXZpbA==", "evil"),
    (("BASE64_DECODE",), "ZXZpbA", None),
    (("BASE64_DECODE",), "ZXZpbB==", None),
    (("BASE64_DECODE",), "ZXZpbA==\n", None),
    (("BASE64_DECODE",), "_-__", None),
    (("BASE64_DECODE",), "/w==", None),
    (("BASE64_DECODE",), "é", None),
    (("BASE64_DECODE",), "spiffe://corp.example/a", None),
    (("BASE64_DECODE", "LOWER_CASE"), "RVZJTA==", "evil"),
    (("LOWER_CASE", "BASE64_DECODE"), "RVZJTA==", None),
    (("NORMALIZE_PATH",), "/a/b/../c/./d//e", "/a/c/d/e"),
    (("NORMALIZE_PATH",), "/a/b/..", "/a/"),
    (("NORMALIZE_PATH",), "/a/.", "/a/"),
    (("NORMALIZE_PATH",), "/../../a", "/a"),
    (("NORMALIZE_PATH",), "../a", "a"),
    (("NORMALIZE_PATH",), "/..", "/"),
    (("NORMALIZE_PATH",), "", ""),
    (("NORMALIZE_PATH",), "spiffe://corp.example//a/../b", "spiffe://corp.example/b"),
    (("NORMALIZE_PATH",), "spiffe://corp.example/..", "spiffe://corp.example/"),
    (("NORMALIZE_PATH",), "spiffe://corp.example", "spiffe://corp.example"),
    (("URL_DECODE", "NORMALIZE_PATH"), "/a/%2e%2e/b", "/b"),
]


@pytest.mark.parametrize(("transformers", "name", "outcome"), TRANSFORMED)
def test_transforms_in_order(transformers, name, outcome):
    assert transform(name, transformers) == outcome


@pytest.mark.parametrize("name", ["LOWER_CASE", "UPPER_CASE", "TRIM", "REMOVE_WHITESPACE", "NORMALIZE_PATH"])
@pytest.mark.parametrize("text", [" aB /x/../y/ ", "", "//", "a/./..//b"])
def test_a_transformer_that_does_not_decode_changes_nothing_the_second_time(name, text):
    once = TRANSFORMS[name](text)
    assert TRANSFORMS[name](once) == once


def compiled(*patterns):
    regexes = RegexSet()
    ids = [regexes.add(pattern) for pattern in patterns]
    regexes.compile()
    return regexes, ids


# Pattern, text, and whether the whole text matches.
MATCHED = [
    ("a|b", "a", True),
    ("a|ab", "ab", True),
    ("a", "ab", False),
    ("b", "ab", False),
    ("^a$", "a", True),
    ("(?m)^a$", "b\na", False),
    ("evil-.*", "evil-\nx", True),
    ("a.b", "a\nb", True),
    ("a", "a\n", False),
    ("", "", True),
    (".", "é", True),
    ("(?i)web", "WEB", True),
    (r"\d+", "12", True),
    (r"\d+", "\N{ARABIC-INDIC DIGIT ONE}", False),
]


@pytest.mark.parametrize(("pattern", "text", "matches"), MATCHED)
def test_matches_the_whole_text_and_a_dot_any_character(pattern, text, matches):
    regexes, ids = compiled(pattern)
    assert (ids[0] in regexes.matches(text)) is matches


def test_one_search_tells_all_patterns_that_match():
    regexes, ids = compiled("a.*", ".*b", "c", "a.*")
    assert ids[0] == ids[3]
    assert set(ids).intersection(regexes.matches("a b")) == {ids[0], ids[1]}


@pytest.mark.parametrize("pattern", ["a(b", "a**", r"(a)\1", "(?=a)", "a{1001}", "[[:nope:]]", "\\"])
def test_refuses_what_re2_refuses(pattern):
    with pytest.raises(InvalidField, match="RE2: "):
        RegexSet().add(pattern)


@pytest.mark.parametrize(
    "pattern", [r"(?:(?:\pL?\pN?\pS?){30}){30}", r"\pL{1000}", r"(?i)\pL{400}", r"(?:\pL?){1000}"]
)
def test_refuses_a_pattern_that_alone_would_take_long(pattern):
    with pytest.raises(LimitExceeded, match="262144 bytes when compiled"):
        RegexSet().add(pattern)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (r".*\.db\.example\.com", "one.db.example.com", "one.db.example.com.evil"),
        (r"spiffe://[^/]+/(ns/[^/]+/)+sa/[a-z0-9-]{1,63}", "spiffe://a/ns/b/sa/c", "spiffe://a/sa/c"),
        (r"\pL+", "äß", "a1"),
        ("[a-z]{200}", "a" * 200, "a" * 201),
    ],
)
def test_takes_the_patterns_that_policies_are_written_with(pattern, matching, other):
    regexes, ids = compiled(pattern)
    assert ids[0] in regexes.matches(matching)
    assert ids[0] not in regexes.matches(other)


def test_refuses_patterns_that_together_need_too_much_memory():
    regexes = RegexSet()
    for number in range(200):
        regexes.add(f"{number}[a-z]{{500}}")
    with pytest.raises(LimitExceeded, match="together"):
        regexes.compile()


def test_an_engine_that_gave_up_is_not_taken_for_one_that_found_nothing(monkeypatch):
    regexes, _ = compiled("a")

    class Exhausted:
        def Match(self, text):  # noqa: N802
            return []

    monkeypatch.setattr(regexes, "_set", Exhausted())
    with pytest.raises(RegexFault):
        regexes.matches("b")


def test_matching_is_linear_where_backtracking_is_not():
    regexes, ids = compiled("(a*)*(a*)*(a*)*b")
    assert ids[0] not in regexes.matches("a" * 4096)
