"""YAML and JSON that people write: what may surprise is refused, with its line."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.structured_text import parse_texts, to_yaml

BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True))
BOOLEANS = ("no", "NO", "off", "on", "yes", "True")

# What is written, and how it is refused.
REFUSED = [
    *((f"a: {word}", f"file:1: a: {word} is a boolean in YAML") for word in BOOLEANS),
    ("a: y", "file:1: a: y is a boolean or a number to some readers"),
    ("a: 1e3", "file:1: a: 1e3 is a boolean or a number to some readers"),
    ("a: 0o17", "file:1: a: 0o17 is a boolean or a number to some readers"),
    ("- a\n- b: {c: 1.50}", "file:2: [1].b.c: 1.50 is a number with a fraction"),
    ("a: .inf", "file:1: a: .inf is a number with a fraction"),
    ("a: 2030-01-31", "file:1: a: 2030-01-31 is a date or time"),
    ("a: 2030-01-31T00:00:00Z", "file:1: a: 2030-01-31T00:00:00Z is a date or time"),
    ("a:\n  b: 22:00", "file:2: a.b: 22:00 is a number"),
    ("a: 017", "file:1: a: 017 is a number"),
    ("a: 0x1f", "file:1: a: 0x1f is a number"),
    ("a: 1_000", "file:1: a: 1_000 is a number"),
    ("a:", "file:1: a: what is left empty is no value at all"),
    ("a: ~", "file:1: a: ~ is no value at all"),
    ("a: =", "file:1: a: = is no text"),
    ("a:\n  no: x", "file:2: a: no is a boolean"),
    ("a: x\nb: y z\na: z", 'file:3: the key "a" occurs twice'),
    ("a: {b: x, b: y}", 'file:1: a: the key "b" occurs twice'),
    ("<<: {a: b}", "file:1: << is a merge key"),
    ("? [a]\n: b", "file:1: a key must be text"),
    ("a: &x [b]\nc: *x", "file:1: a: anchors and aliases are refused"),
    ("a: *x", "file:1: a: anchors and aliases are refused"),
    (BOMB, "file:1: a: anchors and aliases are refused"),
    ("a: !!str no", "file:1: a: tags are refused"),
    ("a: !!python/object/apply:os.system [x]", "file:1: a: tags are refused"),
    ("a: ! x", "file:1: a: tags are refused"),
    ("a: @x", "file:1: is not YAML"),
    ("a: [b\nc: d", "file:2: is not YAML"),
    ("a: \x07", "file: is not YAML: a character that YAML does not allow"),
    ("[" * 100_000, "file: is nested too deeply"),
    ("{" + '"a":{' * 100_000, "file: is nested too deeply"),
    ('{"a": 1, "a": 2}', "file: is not JSON: a name occurs twice in one object"),
    ('{"a": NaN}', "file: is not JSON: NaN is not a JSON value"),
    ('{"a":\n]', "file:2: is not JSON: Expecting value at column 1"),
    ("{a: b}", "file:1: is not JSON"),
]  # fmt: skip


def read(text: str) -> Any:
    [document] = parse_texts("file", text.encode())
    return document.value


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=lambda value: value[:30])
def test_what_may_surprise_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_texts("file", text.encode())
    assert (caught.value.code, words in caught.value.message) == (ExitCode.USAGE, True), caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 'no'", {"a": "no"}),
        ('a: "22:00"', {"a": "22:00"}),
        ("a: 08:30", {"a": "08:30"}),
        ("a: 60", {"a": 60}),
        ("a: 0", {"a": 0}),
        ("a: -1", {"a": -1}),
        ("a: |\n  no\n", {"a": "no\n"}),
        ("a: spiffe://corp.example/a # why", {"a": "spiffe://corp.example/a"}),
        ("- [a, b]\n- c: {}", [["a", "b"], {"c": {}}]),
        ('{"a": [1, "no"]}', {"a": [1, "no"]}),
        ('  {"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    ],
)
def test_what_is_said_plainly_is_read(text: str, value: Any) -> None:
    assert read(text) == value


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(CliError, match="file: is not UTF-8"):
        parse_texts("file", b"a: \xff")


def test_every_document_of_a_file_has_its_own_lines() -> None:
    first, second = parse_texts("file", b"a: b\n---\n\nc:\n  - d: e\n")
    assert (first.value, second.value) == ({"a": "b"}, {"c": [{"d": "e"}]})
    assert second.fault("c[0].d", "bad").message == "file:5: c[0].d: bad"
    assert second.fault("c[0].d.x[7]", "bad").message == "file:5: c[0].d.x[7]: bad"
    assert second.fault("other", "bad").message == "file:4: other: bad"
    assert parse_texts("file", b"# nothing\n") == []


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "y",
        "no",
        "1e3",
        "22:00",
        "",
        " x ",
        "a: b",
        "# c",
        "- d",
        "\x85",
        "\u202e",
        "\ufeff",
        "a\nb",
        "=",
        "<<",
    ]
)


@given(
    st.dictionaries(
        TEXTS,
        st.recursive(
            TEXTS | st.integers(-(10**15), 10**15),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        ),
        max_size=4,
    )
)
def test_what_is_printed_is_read_as_it_was(value: dict[str, Any]) -> None:
    text = to_yaml(value)
    assert read(text if value else "--- {}") == value
    assert yaml.safe_load(text) == value
    assert text.replace("\n", " ").isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.binary(max_size=60))
def test_anything_is_read_or_refused(text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    try:
        documents = parse_texts("file", data)
    except CliError:
        return
    assert json.loads(json.dumps([item.value for item in documents])) == [item.value for item in documents]
