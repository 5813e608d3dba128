"""Every case of testvectors/backup."""

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from blindfold.pieces import PieceSource
from blindfold.secret import SecretBytes
from kms.crypto.backup import BackupKey, root_key_id
from kms.crypto.key_hierarchy import KeyHierarchy
from kms.errors import BackupInvalid
from kms.model.backup_header import BackupHeader
from kms.model.backup_rows import BackupRow, read_rows
from testvectors import backup_vectors

VECTORS = Path(__file__).parents[2] / "testvectors"
FILE = json.loads((VECTORS / "backup/container.json").read_text())
KEYS = KeyHierarchy.derive(SecretBytes(bytes.fromhex(FILE["root_key"])))


def cases(result: str) -> list[Any]:
    found = [test for test in FILE["tests"] if test["result"] == result]
    assert found
    return [pytest.param(test, id=f"{test['tcId']}-{test['comment']}") for test in found]


def opened(case: dict[str, Any]) -> tuple[BackupHeader, BackupKey, list[BackupRow]]:
    file = io.BytesIO(bytes.fromhex(case["backup"]))
    header = BackupHeader.read(file)
    key = BackupKey.unwrap(KEYS, header)
    return header, key, list(read_rows(PieceSource(key.decrypt(header, file))))


def test_file_keeps_its_closed_schema_and_counts_its_cases() -> None:
    jsonschema.validate(FILE, json.loads((VECTORS / "schemas" / FILE["schema"]).read_text()))
    assert FILE["numberOfTests"] == len(FILE["tests"])
    assert {flag for test in FILE["tests"] for flag in test["flags"]} == FILE["notes"].keys()


def test_generator_gives_the_file_that_is_checked_in() -> None:
    [(name, file)] = backup_vectors.generate().items()
    assert (VECTORS / "backup" / name).read_text() == file.text()


@pytest.mark.parametrize("case", cases("valid"))
def test_valid_backup_opens_and_is_made_the_same(case: dict[str, Any]) -> None:
    header, key, rows = opened(case)
    assert [{"kind": row.kind, "name": row.name, "body": row.body.hex()} for row in rows] == case["rows"]
    assert header.root_key_id == root_key_id(KEYS)
    assert key.unwrap_tenant_key(rows[0].name, rows[0].body).reveal().hex() == case["tenant_key"]
    same = BackupKey(SecretBytes(bytes.fromhex(case["backup_key"])))
    plain = io.BytesIO(b"".join(row.to_bytes() for row in rows))
    made = header.to_bytes() + b"".join(same.encrypt(header, plain))
    assert made.hex() == case["backup"]


@pytest.mark.parametrize("case", cases("invalid"))
def test_invalid_backup_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BackupInvalid) as caught:
        opened(case)
    assert caught.value.__context__ is None
