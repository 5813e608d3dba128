"""Every case of testvectors/backup/stores.json."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from blindfold.secret import SecretBytes
from kms.crypto.key_hierarchy import KeyHierarchy
from kms.errors import BackupInvalid
from kms.services.backup_chain import read_chain
from testvectors import store_backup_vectors

VECTORS = Path(__file__).parents[2] / "testvectors"
FILE = json.loads((VECTORS / "backup/stores.json").read_text())
KEYS = KeyHierarchy.derive(SecretBytes(bytes.fromhex(FILE["root_key"])))


def cases(result: str) -> list[Any]:
    found = [test for test in FILE["tests"] if test["result"] == result]
    assert found
    return [pytest.param(test, id=f"{test['tcId']}-{test['comment']}") for test in found]


def opened(case: dict[str, Any], directory: Path) -> list[list[dict[str, str]]]:
    paths = [directory / str(number) for number in range(len(case["backups"]))]
    for path, data in zip(paths, case["backups"], strict=True):
        path.write_bytes(bytes.fromhex(data))
    return [
        [{"kind": row.kind, "name": row.name, "body": row.body.hex()} for row in backup.rows()]
        for backup in read_chain(paths, None).open(KEYS)
    ]


def test_file_keeps_its_closed_schema_and_counts_its_cases() -> None:
    jsonschema.validate(FILE, json.loads((VECTORS / "schemas" / FILE["schema"]).read_text()))
    assert FILE["numberOfTests"] == len(FILE["tests"])
    assert {flag for test in FILE["tests"] for flag in test["flags"]} == FILE["notes"].keys()


def test_generator_gives_the_file_that_is_checked_in() -> None:
    [(name, file)] = store_backup_vectors.generate().items()
    assert (VECTORS / "backup" / name).read_text() == file.text()


@pytest.mark.parametrize("case", cases("valid"))
def test_valid_backups_open_one_by_the_other(case: dict[str, Any], tmp_path: Path) -> None:
    assert opened(case, tmp_path) == case["rows"]


@pytest.mark.parametrize("case", cases("invalid"))
def test_invalid_backups_are_refused(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BackupInvalid):
        opened(case, tmp_path)
