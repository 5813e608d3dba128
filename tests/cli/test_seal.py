"""`blindfold seal`: what it accepts, what it refuses, and what it writes."""

import io
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from desk import DAY, KEY, POLICY, SIGNER, Desk, opened, signed

from blindfold import Binding, KeyDocument
from blindfold._primitives import ed25519_public_key, ed25519_sign
from blindfold.bundle import root_fingerprint
from blindfold.envelope import Header, read_header
from blindfold.forms import from_location, from_text
from cli import secret_io
from cli.exit_codes import ExitCode
from testvectors import material

SECRET = b"hunter2 hunter2"
OTHER_ROOT = material.seeded("another root", 32)


def header(sealed: bytes) -> Header:
    return read_header(io.BytesIO(sealed))[0]


def test_file_is_sealed_to_standard_output_alone(desk: Desk) -> None:
    result = desk.seal(desk.path / "secret")
    assert (result.exit_code, result.stderr) == (0, "")
    assert opened(result.stdout_bytes) == SECRET


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input_is_sealed(desk: Desk, arguments: list[str]) -> None:
    assert opened(desk.seal(*arguments, stdin=b"from a pipe").stdout_bytes) == b"from a pipe"


def test_text_is_one_line(desk: Desk) -> None:
    lines = desk.seal("--text", stdin=SECRET).stdout.splitlines()
    assert [opened(from_text(line)) for line in lines] == [SECRET]


def test_location_is_one_line(desk: Desk) -> None:
    lines = desk.seal("--location", stdin=SECRET).stdout.splitlines()
    assert [opened(from_location(line)) for line in lines] == [SECRET]


def test_encrypt_is_another_name_of_seal(desk: Desk) -> None:
    result = desk.call("encrypt", *desk.sealing[1:], "--text", stdin=SECRET)
    assert opened(from_text(result.stdout.strip())) == SECRET


def test_empty_secret_is_sealed(desk: Desk) -> None:
    assert opened(desk.seal(stdin=b"").stdout_bytes) == b""


def test_secret_of_several_chunks_is_sealed(desk: Desk) -> None:
    secret = os.urandom(200_000)
    result = desk.seal("--out", desk.path / "big.sealed", desk.file("big", secret))
    assert (result.exit_code, result.stdout) == (0, "")
    assert opened((desk.path / "big.sealed").read_bytes()) == secret


def test_metadata_is_public_in_the_header(desk: Desk) -> None:
    result = desk.seal("--name", "web/tls.key", "--content-type", "text/plain", stdin=SECRET)
    metadata = header(result.stdout_bytes).metadata
    assert (metadata.name, metadata.content_type, metadata.padded) == ("web/tls.key", "text/plain", False)


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_padding_hides_the_length(desk: Desk, source: str) -> None:
    def sealed(secret: bytes) -> bytes:
        if source == "file":
            return desk.seal("--pad", desk.file("padded", secret)).stdout_bytes
        return desk.seal("--pad", stdin=secret).stdout_bytes

    short, long = sealed(b"a"), sealed(b"a" * 200)
    assert len(short) == len(long)
    assert (opened(short), opened(long)) == (b"a", b"a" * 200)


def test_padding_a_pipe_has_a_limit_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_io, "MAX_PADDED_PIPE", 1 << 20)
    result = desk.seal("--pad", stdin=bytes((1 << 20) + 1))
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "up to 1 MiB only" in result.stderr


def test_text_form_has_a_limit_and_says_so(desk: Desk) -> None:
    result = desk.seal("--text", desk.file("big", bytes(13 << 20)))
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "leave --text and --location out" in result.stderr


def test_json_holds_the_text_form_and_what_it_is_sealed_to(desk: Desk) -> None:
    result = json.loads(desk.seal("--json", stdin=SECRET).stdout)
    assert opened(from_text(result.pop("sealed"))) == SECRET
    assert result == {
        "form": "text",
        "tenant": "acme",
        "key_version": 1,
        "key_fingerprint": KEY.fingerprint.hex(),
        "policy": POLICY.resource_name,
        "policy_revision": 1,
        "policy_digest": POLICY.digest.hex(),
        "binding": "REVISION",
        "used_expired_documents": False,
    }


def test_json_with_a_file_names_the_file(desk: Desk) -> None:
    out = desk.path / "secret.sealed"
    result = json.loads(desk.seal("--json", "--out", out, stdin=SECRET).stdout)
    assert (result["form"], result["out"]) == ("binary", str(out))
    assert opened(out.read_bytes()) == SECRET


@dataclass(frozen=True)
class Refusal:
    """`key` and `policy` say how the documents are signed."""

    name: str
    code: ExitCode
    message: str
    key: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    key_document: KeyDocument = KEY
    policy_document: Any = POLICY
    arguments: tuple[str, ...] = ()


REFUSALS = [
    Refusal("expired key", ExitCode.STALE, "tenant.key: the document expired", key={"issued": -9 * DAY}),
    Refusal("expired policy", ExitCode.STALE, "web-tls.policy: the document", policy={"issued": -9 * DAY}),
    Refusal("future", ExitCode.STALE, "in the future", policy={"issued": 2 * DAY}),
    Refusal("other root", ExitCode.DAMAGED, "is not pinned", key={"root": OTHER_ROOT}),
    Refusal("other signer", ExitCode.DAMAGED, "signature of the bundle", policy={"signer": OTHER_ROOT}),
    Refusal("delegation of another tenant", ExitCode.MISMATCH, "different tenants", key={"tenant": "evil"}),
    Refusal("life beyond delegation", ExitCode.DAMAGED, "outside", policy={"life": 900 * DAY}),
    Refusal(
        "policy of another tenant",
        ExitCode.MISMATCH,
        "the key is of tenant 'acme', the policy of 'umbrella'",
        policy_document=material.policy(tenant="umbrella"),
    ),
    Refusal(
        "tenant not asked for", ExitCode.MISMATCH, "not of 'umbrella'", arguments=("--tenant", "umbrella")
    ),
    Refusal(
        "binding not asked for",
        ExitCode.MISMATCH,
        "binds secrets to the policy, not to the revision",
        policy_document=material.policy(binding=Binding.POLICY),
        arguments=("--require-binding", "revision"),
    ),
    Refusal(
        "policy of another namespace",
        ExitCode.MISMATCH,
        "is of tenants/acme/namespaces/dev/secretPolicies/web-tls, not of tenants/acme/namespaces/prod/",
        policy_document=replace(POLICY, namespace="dev"),
    ),
    Refusal(
        "policy not asked for",
        ExitCode.MISMATCH,
        "not of tenants/acme/namespaces/prod/secretPolicies/db",
        arguments=("--tenant", "acme", "--policy", "prod/db"),
    ),
    Refusal(
        "policy of a tenant not asked for",
        ExitCode.MISMATCH,
        "not of tenants/umbrella/",
        arguments=("--policy", POLICY.resource_name.replace("acme", "umbrella")),
    ),
    Refusal("no name of a policy", ExitCode.USAGE, "is not NAMESPACE/ID", arguments=("--policy", "web-tls")),
    Refusal(
        "half a name of a policy",
        ExitCode.USAGE,
        "is not NAMESPACE/ID",
        arguments=("--policy", "tenants/acme/"),
    ),
    Refusal("short name without a tenant", ExitCode.USAGE, "tenant", arguments=("--policy", "prod/web-tls")),
    Refusal("one policy and any", ExitCode.USAGE, "exclude", arguments=("--any-policy",)),
    Refusal(
        "another root for the policy",
        ExitCode.MISMATCH,
        "vouched for by",
        policy={"root": OTHER_ROOT},
        arguments=("--trust-key", root_fingerprint(ed25519_public_key(OTHER_ROOT))),
    ),
    Refusal("small modulus", ExitCode.DAMAGED, "a modulus of 1024 bits", key_document=material.key("small")),
    Refusal("key in place of policy", ExitCode.DAMAGED, "the delegation is for", policy_document=KEY),
    Refusal("bad name", ExitCode.USAGE, "name:", arguments=("--name", "\x1b[2J")),
    Refusal("bad content type", ExitCode.USAGE, "content type:", arguments=("--content-type", "plain")),
    Refusal("two states", ExitCode.USAGE, "exclude", arguments=("--state", "x", "--no-state")),
    Refusal(
        "no fingerprint", ExitCode.USAGE, "--trust-key: not a fingerprint", arguments=("--trust-key", "yes")
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_refusal_writes_nothing(desk: Desk, case: Refusal) -> None:
    desk.bundle("tenant.key", case.key_document, **case.key)
    desk.bundle("web-tls.policy", case.policy_document, **case.policy)
    before = sorted(desk.path.iterdir())
    result = desk.seal(*case.arguments, "--out", desk.path / "secret.sealed", stdin=SECRET)
    assert (result.exit_code, result.stdout) == (case.code, "")
    assert case.message in result.stderr
    assert result.stderr.startswith("blindfold: ")
    left = set(desk.path.iterdir()) - set(before)
    assert not {path.name for path in left} - {"state"}


def without(arguments: list[str], option: str) -> list[str]:
    """The arguments without an option and its value."""
    at = arguments.index(option)
    return arguments[:at] + arguments[at + 2 :]


def test_which_policy_is_meant_has_to_be_said(desk: Desk) -> None:
    arguments = without(desk.sealing, "--policy")
    result = desk.call(*arguments, stdin=SECRET)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "hint: Give --policy NAMESPACE/ID" in result.stderr
    assert opened(desk.call(*arguments, "--any-policy", stdin=SECRET).stdout_bytes) == SECRET


def test_policy_is_named_short_where_the_tenant_is_known(desk: Desk) -> None:
    profile = desk.file("profile.toml", 'tenant = "acme"\n')
    arguments = ("--policy", "prod/web-tls", "--profile", profile)
    assert opened(desk.seal(*arguments, stdin=SECRET).stdout_bytes) == SECRET


def test_without_a_pinned_root_nothing_is_sealed(desk: Desk) -> None:
    arguments = desk.sealing[: desk.sealing.index("--trust-key")]
    result = desk.call(*arguments, stdin=SECRET)
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "no documents root key is pinned" in result.stderr
    assert "hint: Give --trust-key" in result.stderr


def test_unknown_predicate_is_not_sealed_to(desk: Desk) -> None:
    """The document is signed by the right key: a newer KMS may know predicates that this sealer does not."""
    known = POLICY.to_bytes()
    newer = known.replace(b'"client_selector":', b'"client_seleector":')
    bundle = signed(POLICY)
    message = bundle.signed_bytes(POLICY.TYPE, bundle.issued_at, bundle.not_after, newer)
    forged = replace(bundle, document=newer, signature=ed25519_sign(SIGNER, message))
    desk.file("web-tls.policy", forged.to_bytes())
    result = desk.seal(stdin=SECRET)
    assert (result.exit_code, result.stdout) == (ExitCode.DAMAGED, "")
    assert "rules[0]: unknown predicate" in result.stderr


def test_expired_documents_are_accepted_only_when_asked_for_and_recorded(desk: Desk) -> None:
    desk.bundle("web-tls.policy", POLICY, issued=-9 * DAY)
    result = desk.seal("--allow-expired", "--json", stdin=SECRET)
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert "web-tls.policy expired at " in result.stderr
    assert json.loads(result.stdout)["used_expired_documents"] is True


def test_policy_binding_is_sealed_to_the_name(desk: Desk) -> None:
    policy = material.policy(binding=Binding.POLICY)
    desk.bundle("web-tls.policy", policy)
    result = desk.seal("--require-binding", "policy", stdin=SECRET)
    assert opened(result.stdout_bytes, policy=policy) == SECRET


@pytest.mark.parametrize(
    ("name", "content"),
    [("not JSON", b"-----BEGIN CERTIFICATE-----"), ("empty", b""), ("too long", b"{" + b" " * (2 << 20))],
)
def test_file_that_is_no_bundle_is_refused(desk: Desk, name: str, content: bytes) -> None:
    desk.file("tenant.key", content)
    result = desk.seal(stdin=SECRET)
    assert result.exit_code == ExitCode.DAMAGED
    assert "tenant.key: bundle: " in result.stderr


def test_missing_document_is_named(desk: Desk) -> None:
    (desk.path / "tenant.key").unlink()
    result = desk.seal(stdin=SECRET)
    assert result.exit_code == ExitCode.USAGE
    assert "tenant.key: No such file or directory" in result.stderr


def test_secret_given_as_an_argument_is_refused_and_not_repeated(desk: Desk) -> None:
    result = desk.seal("pa55word")
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "a secret is never an argument" in result.stderr
    assert "pa55word" not in result.stderr


def test_error_with_json_is_one_object_on_standard_error(desk: Desk) -> None:
    desk.bundle("tenant.key", KEY, issued=-9 * DAY)
    result = desk.seal("--json", stdin=SECRET)
    assert result.stdout == ""
    error = json.loads(result.stderr)["error"]
    assert (error["reason"], error["exit_code"]) == ("DocumentExpired", ExitCode.STALE)
    assert "--allow-expired" in error["hint"]


def test_profile_gives_trust_and_tenant(desk: Desk) -> None:
    profile = desk.file("profile.toml", f'tenant = "umbrella"\ntrust_keys = ["{material.trust()}"]\n')
    arguments = [*desk.sealing[: desk.sealing.index("--trust-key")], "--profile", profile]
    assert desk.call(*arguments, stdin=SECRET).exit_code == ExitCode.MISMATCH
    assert desk.call(*arguments, "--tenant", "acme", stdin=SECRET).exit_code == 0


def test_environment_gives_trust(desk: Desk) -> None:
    arguments = desk.sealing[: desk.sealing.index("--trust-key")]
    keys = f"sha256:{'0' * 64} {material.trust()}"
    assert desk.call(*arguments, stdin=SECRET, BLINDFOLD_TRUST_KEY=keys).exit_code == 0


def test_documents_decide_the_file_not_the_bundle_around_them(desk: Desk) -> None:
    first = header(desk.seal(stdin=SECRET).stdout_bytes).lock
    desk.bundle("web-tls.policy", POLICY, issued=-2 * DAY)
    second = header(desk.seal(stdin=SECRET).stdout_bytes).lock
    assert (first.binding_value, first.fingerprint) == (second.binding_value, second.fingerprint)
    assert first.element != second.element
