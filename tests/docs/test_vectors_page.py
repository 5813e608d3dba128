"""docs/vectors.md explains every reason for which a case is skipped, and names what is asked."""

import re
from pathlib import Path

from kms.client.vectors.case import Reason
from kms.client.vectors.files import PACKAGES
from protos.kms.v1 import crypto_service_pb2, import_service_pb2

PAGE = (Path(__file__).parents[2] / "docs" / "vectors.md").read_text(encoding="utf-8")
EXPLAINED = re.findall(r"^\| ([^|]+) \| [^|]*\|$", PAGE.partition("## What is skipped")[2], re.MULTILINE)
ASKED = re.findall(r"^\|[^|]+\|[^|]+\| ([^|]+) \|$", PAGE.partition("## What is asked")[2], re.MULTILINE)
METHODS = {
    method.name
    for module in (crypto_service_pb2, import_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def test_every_reason_is_explained_and_no_other_is() -> None:
    header, *reasons = EXPLAINED
    assert (header, reasons) == ("reason", list(map(str, Reason)))


def test_what_is_asked_are_methods_of_the_api() -> None:
    named = {name for row in ASKED for name in re.findall(r"\b[A-Z]\w+[a-z]\b", row)}
    assert len(named) > 8
    assert named <= METHODS


def test_packages_are_named_as_they_are_installed() -> None:
    for package in PACKAGES:
        assert package.replace("_", "-") in PAGE
