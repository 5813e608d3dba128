"""docs/client.md: every example is run, in order and in one program, against a server."""

import re
from pathlib import Path
from typing import Any

import pytest
from server.kms_harness import running_kms

from kms.client.calls import MAX_ITEMS, OPERATIONS
from kms.client.client import Operations
from kms.client.data_keys import CacheLimits
from kms.client.resending import Resending
from kms.model.algorithms import MAX_PLAINTEXT

PAGE = (Path(__file__).parents[2] / "docs/client.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "kms.example:7443"
KEYS = {
    "orders": {"purpose": "ENCRYPT_DECRYPT"},
    "files": {"purpose": "ENCRYPT_DECRYPT"},
    "signing": {"purpose": "ASYMMETRIC_SIGN", "algorithm": "KEY_ALGORITHM_RSA_PSS_2048_SHA256"},
}
BACKUP = bytes(range(256)) * 1000


def test_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backup.tar").write_bytes(BACKUP)
    with running_kms(tmp_path) as kms:
        kms.allow_keys()
        for key_id, described in KEYS.items():
            kms.make_key(key_id, **described)
        (tmp_path / "credentials").symlink_to(kms.credentials("key-user"))
        capsys.readouterr()
        names: dict[str, Any] = {}
        for example in EXAMPLES:
            exec(example.replace(ADDRESS, kms.target), names)  # noqa: S102
    assert (tmp_path / "restored.tar").read_bytes() == BACKUP
    assert BACKUP[:256] not in (tmp_path / "backup.env").read_bytes()
    version = "tenants/acme/namespaces/prod/keys/orders/versions/1"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{version} b'4 anvils'"
    assert printed[1].startswith("DECRYPTION_FAILED Check ")
    assert printed[2:] == [version, version, "3", "10000000", version]


def test_every_method_is_named() -> None:
    methods = {name for name in vars(Operations) if not name.startswith("_")}
    assert len(methods) == len(OPERATIONS)
    listed = TEXT[TEXT.index("The methods are") : TEXT.index("Each takes the name")]
    assert set(re.findall(r"`(\w+)`", listed)) == methods


@pytest.mark.parametrize(
    "stated",
    [
        f"by default {Resending().attempts} times within {Resending().deadline:.0f} s",
        f"up to {MAX_ITEMS:,} requests",
        f"A call takes {MAX_PLAINTEXT >> 10} KiB",
        f"by default {CacheLimits().max_age / 60:.0f} minutes, {CacheLimits().max_messages:,} envelopes, "
        f"{CacheLimits().max_bytes >> 30} GiB, and {CacheLimits().max_entries} data keys for decryption",
    ],
)
def test_number_in_the_text_is_that_of_the_code(stated: str) -> None:
    assert stated in TEXT
