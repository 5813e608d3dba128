"""docs/errors.md names every reason that the KMS can give, with its status, and no other."""

import importlib
import pkgutil
import re
from pathlib import Path

import kms
from kms.errors import KmsError
from kms.server.status import CODES

TEXT = (Path(__file__).parents[2] / "docs/errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)


def error_classes():
    for module in pkgutil.walk_packages(kms.__path__, "kms."):
        importlib.import_module(module.name)
    found, waiting = [], [KmsError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting.extend(kind.__subclasses__())
    return [kind for kind in found if kind.__module__.startswith("kms.")]


def test_every_reason_is_documented_with_its_status_and_no_other_is():
    documented = {(reason, status) for reason, status, _, _ in ROWS}
    assert documented == {(kind.reason, CODES[kind.kind].name) for kind in error_classes()}


def test_every_reason_is_documented_once():
    reasons = [reason for reason, _, _, _ in ROWS]
    assert len(reasons) == len(set(reasons))


def test_every_reason_says_what_to_do():
    assert all(meaning.endswith(".") and remedy.endswith(".") for _, _, meaning, remedy in ROWS)


def test_reasons_are_stable_words():
    assert all(re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", kind.reason) for kind in error_classes())
