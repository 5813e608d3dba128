"""What policies let a Wingman keep: one question for all, and what is kept while the KMS is away."""

import http.client
import json
import socket
from contextlib import ExitStack
from pathlib import Path

from server.kms_harness import RunningKms
from sidecar import PATIENCE, Sidecar, ready_sidecar
from test_unseal import KEPT, evaluations

from blindfold.forms import to_location
from kms.client.open_files import allow_open_files
from wingman.http.listening import OPEN_FILES

CLEAR = b"kept secret"


def test_secret_is_asked_for_once_where_its_policy_lets_it_be_kept(kms: RunningKms, sidecar: Sidecar) -> None:
    sealed, before = kms.seal(CLEAR, KEPT), evaluations(kms)
    assert {sidecar.unseal(sealed).status for _ in range(3)} == {200}
    assert evaluations(kms) == before + 1


def test_secret_is_asked_for_each_time_where_its_policy_does_not_say_otherwise(
    kms: RunningKms, sidecar: Sidecar
) -> None:
    sealed, before = kms.seal(CLEAR), evaluations(kms)
    assert {sidecar.unseal(sealed).status for _ in range(3)} == {200}
    assert evaluations(kms) == before + 3


def test_configuration_limits_what_policies_allow(kms: RunningKms, tmp_path: Path) -> None:
    sealed, before = kms.seal(CLEAR, KEPT), evaluations(kms)
    with ready_sidecar(kms, tmp_path, max_keep_seconds=0) as other:
        assert {other.unseal(sealed).status for _ in range(3)} == {200}
    assert evaluations(kms) == before + 3


def answer_of(asker: socket.socket) -> tuple[int, bytes]:
    with http.client.HTTPResponse(asker) as response:
        response.begin()
        return response.status, response.read()


def test_a_thousand_connections_at_once_are_one_question(kms: RunningKms, tmp_path: Path) -> None:
    """Both sides' files are this process's, which is allowed that many."""
    allow_open_files(OPEN_FILES)
    sealed = kms.seal(CLEAR, KEPT)
    body = json.dumps({"type": "blindfold", "location": to_location(sealed)}).encode()
    head = f"POST /secret/unseal?raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with ready_sidecar(kms, tmp_path) as other, ExitStack() as connections:
        before = evaluations(kms)
        asking = [connections.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(1000)]
        for asker in asking:
            asker.settimeout(PATIENCE)
            asker.connect(other.socket)
        for asker in asking:
            asker.sendall(head.encode() + body)
        assert {answer_of(asker) for asker in asking} == {(200, CLEAR)}
    assert evaluations(kms) == before + 1


def test_nothing_is_kept_of_a_refusal(kms: RunningKms, tmp_path: Path) -> None:
    deny, allow = ([{"name": "rule", "action": f"ACTION_{word}"}] for word in ("DENY", "ALLOW"))
    policy = kms.add_policy("later", binding="BINDING_POLICY", decrypt_cache_timeout="300s", rules=deny)[
        "name"
    ]
    sealed = kms.seal(CLEAR, policy)
    with ready_sidecar(kms, tmp_path) as other:
        assert other.unseal(sealed).status == 403
        opened_up = {
            "secret_policy": {"name": policy, "content": {"rules": allow}},
            "update_mask": "content.rules",
        }
        kms.as_("author").call("SecretPolicyService", "UpdateSecretPolicy", opened_up)
        assert other.unseal(sealed).status == 200
