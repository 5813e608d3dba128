"""docs/spec/blindfold.md: its rules are numbered, and its numbers are those of the code."""

import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest

from blindfold import (
    _canonical,
    bundle,
    envelope,
    evaluation,
    exponent,
    forms,
    keygen,
    modulus,
    predicates,
    stream,
)
from blindfold.documents import KeyDocument, PolicyDocument
from kms.services import document_signing
from kms.services.evaluation import MAX_ELEMENTS, MAX_EVALUATIONS

PAGE = (Path(__file__).parents[2] / "docs/spec/blindfold.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
RULES = re.findall(r"^- \*\*([SOK])(\d+)\.\*\* ", PAGE, re.MULTILINE)
LIMITS = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE[PAGE.index("## Limits") :], re.MULTILINE))


@pytest.mark.parametrize("role", ["S", "O", "K"])
def test_rules_of_a_role_are_numbered_in_their_order_and_counted_in_the_table(role: str) -> None:
    numbers = [int(number) for letter, number in RULES if letter == role]
    assert numbers == list(range(1, len(numbers) + 1))
    assert f"({role}1 to {role}{len(numbers)})" in PAGE


def test_every_rule_that_the_text_points_to_exists() -> None:
    pointed = set(re.findall(r"\b([SOK]\d+)\b", PAGE[: PAGE.index("## Worked example")]))
    assert pointed == {letter + number for letter, number in RULES}


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("evaluations for a key version and binding value", f"2^{MAX_EVALUATIONS.bit_length() - 1}"),
        ("elements in a request", f"{MAX_ELEMENTS}"),
        ("secret", f"{stream.MAX_CHUNKS * stream.CHUNK >> 40} TiB (2^26 chunks of {stream.CHUNK:,} bytes)"),
        ("header", f"{envelope.MAX_HEADER >> 10} KiB"),
        ("document, and bundle", f"{_canonical.MAX_DOCUMENT >> 20} MiB each"),
        ("rules in a policy", f"{predicates.MAX_RULES}"),
        ("text and location form", f"{forms.MAX_TEXT >> 20} MiB"),
        ("modulus", "{} or {} bits".format(*modulus.ALLOWED_BITS)),
        ("public name, content type", f"{envelope.MAX_NAME} and {envelope.MAX_CONTENT_TYPE} bytes"),
    ],
)
def test_limit_is_that_of_the_code(what: str, limit: str) -> None:
    assert LIMITS[what] == limit


@pytest.mark.parametrize(
    "stated",
    [
        envelope.MAGIC.hex(" "),
        f"u8 format = {envelope.FORMAT} || u16 suite = {envelope.SUITE}",
        forms.TEXT_PREFIX,
        forms.LOCATION_PREFIX,
        f"2^{keygen.WINDOW.bit_length() - 1} candidates",
        f"a prime factor below 2^{keygen.SIEVE_LIMIT.bit_length() - 1}",
        f"Miller-Rabin, {keygen.MILLER_RABIN_ROUNDS} rounds in all",
        f"prime below 2^{modulus.SMALL_PRIME_LIMIT.bit_length() - 1} divides it",
        f"a fresh random {evaluation.CHECK_PRIME_BITS}-bit prime",
        f"drawn anew after {evaluation.PAIR_USES}",
        f"more than {bundle.CLOCK_SKEW // timedelta(minutes=1)} minutes in the future",
        f"Bundles last {bundle.DEFAULT_LIFE.days} days,",
        f"delegations {document_signing.DELEGATION_LIFE.days} days,",
        f"renewed {document_signing.RENEW_BEFORE.days} days before their end",
        f"max({stream.MIN_PADDED}, Padmé(8 + length))",
        f'"{KeyDocument.TYPE}"',
        f'"{PolicyDocument.TYPE}"',
        *(f"binding = {item.value}, {item.name}:" for item in exponent.Binding),
    ],
)
def test_number_in_the_text_is_that_of_the_code(stated: str) -> None:
    assert stated in TEXT


@pytest.mark.parametrize("document", [KeyDocument, PolicyDocument], ids=lambda item: item.__name__)
def test_every_member_of_a_document_is_listed(document: type[KeyDocument] | type[PolicyDocument]) -> None:
    start = PAGE.index(f'| `type` | `"{document.TYPE}"` |')
    table = PAGE[start : PAGE.index("\n\n", start)]
    cells = [row.split(" | ")[0] for row in table.splitlines()]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == document.FIELDS


def test_every_member_of_bundles_and_delegations_is_named() -> None:
    section = PAGE[PAGE.index("## Bundles") : PAGE.index("## The sealed file")]
    names = set(re.findall(r"`(\w+)`", section))
    assert names >= bundle.Bundle.FIELDS | bundle.Delegation.FIELDS


def test_the_page_states_as_many_fault_checks_as_the_code_makes() -> None:
    of_both = re.findall(r" (?:==|>=) .*,$", inspect.getsource(evaluation.crt_root), re.MULTILINE)
    of_each = re.findall(r" (?:==|>=) .*,$", inspect.getsource(evaluation.Half.checks), re.MULTILINE)
    section = PAGE[PAGE.index("- **K18.**") : PAGE.index("- **K19.**")]
    assert len(re.findall(r"^  \d\. ", section, re.MULTILINE)) == len(of_both) + len(of_each) == 7
