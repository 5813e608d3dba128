"""`blindfold seal`: from two public documents and a secret to a sealed one, without any network."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from blindfold import Binding, KeyDocument, PolicyDocument, seen
from blindfold.errors import DocumentMismatch
from blindfold.forms import MAX_TEXT, to_location, to_text
from blindfold.sealing import Sink, seal_stream
from cli.documents import Trust, Verified, read_verified, verify_key, verify_policy
from cli.errors import UsageError
from cli.memory import remember
from cli.options import (
    FILE,
    STREAM,
    allow_expired_option,
    json_option,
    must_pin,
    out_option,
    read_profile,
    tenant_option,
    trust_options,
)
from cli.output import write_json
from cli.progress import Progress, ProgressSource
from cli.secret_io import BoundedBuffer, input_stream, measured, public_sink, remaining_size

# A base64 text is four thirds of the sealed bytes.
MAX_SEALED_FOR_TEXT = MAX_TEXT // 4 * 3 - 64
TEXT_FORMS: dict[str, Callable[[bytes], str]] = {"text": to_text, "location": to_location}


@dataclass(frozen=True, slots=True)
class Target:
    """What a secret is sealed to."""

    key: Verified[KeyDocument]
    policy: Verified[PolicyDocument]

    def to_json(self) -> dict[str, Any]:
        key, policy = self.key.document, self.policy.document
        return {
            "tenant": key.tenant,
            "key_version": key.key_version,
            "key_fingerprint": key.fingerprint.hex(),
            "policy": policy.resource_name,
            "policy_revision": policy.revision,
            "policy_digest": policy.digest.hex(),
            "binding": policy.binding.name,
            "used_expired_documents": self.key.expired or self.policy.expired,
        }


@click.command(
    epilog="""\b
Example:
  blindfold seal --public-key tenant.key --policy-document web-tls.policy \\
      --trust-key sha256:... --out tls.key.sealed tls.key
  printf %s "$TOKEN" | blindfold seal --public-key K --policy-document P --text"""
)
@click.option("--public-key", type=FILE, required=True, help="Signed public key of the tenant.")
@click.option("--policy-document", type=FILE, required=True, help="Signed policy document to seal to.")
@trust_options
@tenant_option
@allow_expired_option
@click.option(
    "--require-binding",
    type=click.Choice(["revision", "policy"]),
    help="Refuse a policy document of the other binding.",
)
@click.option("--text", "form", flag_value="text", help="Print one line of text: blindfold:v1:...")
@click.option("--location", "form", flag_value="location", help="Print one line: string:///...")
@click.option("--pad", is_flag=True, help="Hide the exact length.")
@click.option("--name", default="", help="Public name, authenticated when the secret is opened.")
@click.option("--content-type", default="", metavar="TYPE", help="Public media type, such as text/plain.")
@click.option(
    "--state",
    type=FILE,
    help="Memory of documents used before, to refuse older ones; by default of the user.",
)
@click.option("--no-state", is_flag=True, help="Neither read nor write that memory.")
@out_option
@json_option
@click.argument("secret", metavar="[INPUT]", type=STREAM, default="-")
def seal(secret: str, out: Path | None, form: str | None, as_json: bool, **options: Any) -> None:
    """Seal a secret to a policy, offline.

    The secret is read from the file INPUT, or from standard input. Two public documents are needed, the
    tenant's public key and a policy document; both are verified up to a documents root key that you pin.
    Only callers whom the policy allows can have the KMS help them open the result.

    Standard output holds the sealed secret and nothing else. With --json and without --out, it is inside the
    JSON object, in its text form.
    """
    target = verified_target(**{name: options.pop(name) for name in _TARGET_OPTIONS})
    text_form = form or ("text" if as_json and out is None else "")
    with input_stream(secret) as stream:
        if text_form:
            buffer = BoundedBuffer(MAX_SEALED_FOR_TEXT)
            _seal(stream, buffer, target, **options)
            sealed = TEXT_FORMS[text_form](buffer.getvalue())
            if as_json and out is None:
                write_json({"form": text_form, "sealed": sealed} | target.to_json())
                return
            with public_sink(out, binary=False) as sink:
                sink.write(sealed.encode("ascii") + b"\n")
        else:
            with public_sink(out, binary=True) as sink:
                _seal(stream, sink, target, **options)
    if as_json:
        write_json({"form": form or "binary", "out": str(out)} | target.to_json())


_TARGET_OPTIONS = (
    "public_key", "policy_document", "trust_keys", "profile_path", "tenant", "allow_expired",
    "require_binding", "state", "no_state",
)  # fmt: skip


def verified_target(
    *,
    public_key: Path,
    policy_document: Path,
    trust_keys: tuple[str, ...],
    profile_path: Path | None,
    tenant: str | None,
    allow_expired: bool,
    require_binding: str | None,
    state: Path | None,
    no_state: bool,
) -> Target:
    """Both documents, verified, of one tenant, and not older than those used before."""
    if state and no_state:
        raise UsageError("--state and --no-state exclude each other")
    settings = read_profile(profile_path)
    trust = Trust(must_pin(trust_keys, settings), datetime.now(UTC), allow_expired)
    target = Target(
        read_verified(public_key, verify_key, trust), read_verified(policy_document, verify_policy, trust)
    )
    check_belongs(target, tenant or settings.tenant, require_binding)
    if not no_state:
        memory = state or seen.default_path(os.environ)
        remember(memory, target.key.document, target.policy.document)
    return target


def check_belongs(target: Target, tenant: str, require_binding: str | None) -> None:
    """Raises `DocumentMismatch` for two tenants, for another than `tenant`, or for another binding."""
    key, policy = target.key.document, target.policy.document
    if key.tenant != policy.tenant:
        raise DocumentMismatch(f"the key is of tenant {key.tenant!r}, the policy of {policy.tenant!r}")
    if tenant and key.tenant != tenant:
        raise DocumentMismatch(f"the documents are of tenant {key.tenant!r}, not of {tenant!r}")
    if require_binding and policy.binding is not Binding[require_binding.upper()]:
        raise DocumentMismatch(
            f"the policy document binds secrets to the {policy.binding.name.lower()}, "
            f"not to the {require_binding}"
        )


def _seal(stream: Any, sink: Sink, target: Target, *, pad: bool, name: str, content_type: str) -> None:
    source, size = measured(stream) if pad else (stream, remaining_size(stream))
    progress = Progress(size)
    try:
        seal_stream(
            ProgressSource(source, progress),
            sink,
            target.key.document,
            target.policy.document,
            name=name,
            content_type=content_type,
            pad_to=size if pad else None,
        )
    finally:
        progress.close()
