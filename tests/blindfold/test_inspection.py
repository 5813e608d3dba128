"""What anyone can read of a sealed secret, and what is said of one that is damaged."""

import io
import json
from typing import Any

import pytest
from honest_kms import HonestKms, header_of

from blindfold import Binding, inspect, seal
from blindfold.envelope import MAC_SIZE
from blindfold.stream import CHUNK, TAG, padded_size
from testvectors import material

KMS = HonestKms()
POLICY = material.policy()


def sealed_file(size: int, **options: Any) -> bytes:
    return seal(bytes(size), KMS.key, POLICY, test_only=True, **options)


def test_inspection_shows_everything_public() -> None:
    sealed = material.sealed()
    found = inspect(sealed)
    assert found.header == header_of(sealed)
    shown = json.loads(json.dumps(found.to_json()))
    assert shown == {
        "ok": True,
        "problem": "",
        "payload_size": len(material.SECRET) + TAG,
        "chunks": 1,
        "tenant": "acme",
        "key_version": 1,
        "key_fingerprint": material.key().fingerprint.hex(),
        "binding": "REVISION",
        "policy_digest": POLICY.digest.hex(),
        "policy_name": None,
        "policy_uid": None,
        "element_bits": 1024,
        "name": "web/tls.key",
        "content_type": "text/plain",
        "created": 1_768_478_400,
        "padded": False,
    }


def test_inspection_names_the_policy_of_a_policy_binding() -> None:
    by_name = material.policy(binding=Binding.POLICY)
    shown = inspect(material.sealed(policy_document=by_name)).to_json()
    assert shown["policy_name"] == by_name.resource_name
    assert shown["policy_uid"] == by_name.uid.hex()
    assert shown["policy_digest"] is None


@pytest.mark.parametrize(
    ("size", "chunks"), [(0, 1), (1, 1), (CHUNK - 1, 1), (CHUNK, 1), (CHUNK + 1, 2), (2 * CHUNK, 2)]
)
def test_inspection_measures_the_payload(size: int, chunks: int) -> None:
    found = inspect(io.BytesIO(sealed_file(size)))
    assert (found.problem, found.chunks, found.payload_size) == ("", chunks, size + chunks * TAG)


def test_inspection_of_a_padded_secret_shows_the_padded_size_alone() -> None:
    found = inspect(sealed_file(1000, pad=True))
    assert found.payload_size == padded_size(1000) + TAG
    assert found.to_json()["padded"] is True


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "NotSealed"),
        (b"no secret at all", "NotSealed"),
        (material.sealed()[:40], "Corrupt"),
        (material.sealed()[:9] + b"\x00\x02" + material.sealed()[11:], "Unsupported"),
    ],
)
def test_inspection_says_what_is_wrong_with_the_header(data: bytes, problem: str) -> None:
    found = inspect(data)
    assert found.header is None
    assert found.problem.startswith(problem + ": ")
    assert found.to_json() == {"ok": False, "problem": found.problem, "payload_size": 0, "chunks": 0}


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (0, 0),
        (0, TAG - 1),
        (CHUNK, CHUNK + TAG + 1),
        (CHUNK, CHUNK + 2 * TAG - 1),
        (CHUNK, CHUNK + 2 * TAG),
    ],
    ids=["no payload", "half a tag", "one byte more", "a tag but one byte", "an empty last chunk"],
)
def test_inspection_sees_a_payload_of_a_length_that_cannot_be(size: int, kept: int) -> None:
    sealed = sealed_file(size)
    start = len(header_of(sealed).to_bytes()) + MAC_SIZE
    found = inspect((sealed + bytes(2 * TAG))[: start + kept])
    assert found.problem.startswith("Corrupt: the payload is cut off")
    assert (found.header, found.payload_size) == (header_of(sealed), kept)
    assert found.to_json()["ok"] is False
