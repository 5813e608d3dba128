"""`blindfold seal`: from two public documents and a secret to a sealed one, without any network."""

from pathlib import Path
from typing import Any

import click

from blindfold.sealing import Sink, seal_stream
from cli.offline.sealed_output import write_sealed
from cli.offline.target import TARGET_OPTIONS, Target, target_options, verified_target
from cli.options import STREAM, json_option, out_option, profile_option, tenant_option
from cli.progress import Progress, ProgressSource
from cli.secret_io import input_stream, measured, remaining_size


@click.command(
    epilog="""\b
Example:
  blindfold seal --public-key tenant.key --policy-document web-tls.policy \\
      --policy prod/web-tls --out tls.key.sealed tls.key
  printf %s "$TOKEN" | blindfold seal --public-key K --policy-document P --policy N --text"""
)
@target_options
@profile_option
@tenant_option
@click.option(
    "--text", "form", flag_value="text", default="binary", help="Print one line of text: blindfold:v1:..."
)
@click.option("--location", "form", flag_value="location", help="Print one line: string:///...")
@click.option("--pad", is_flag=True, help="Hide the exact length.")
@click.option("--name", default="", help="Public name, authenticated when the secret is opened.")
@click.option("--content-type", default="", metavar="TYPE", help="Public media type, such as text/plain.")
@out_option
@json_option
@click.argument("secret", metavar="[INPUT]", type=STREAM, default="-")
def seal(secret: str, out: Path | None, form: str, as_json: bool, **options: Any) -> None:
    """Seal a secret to a policy, offline.

    The secret is read from the file INPUT, or from standard input. Two public documents are needed, the
    tenant's public key and a policy document; both are verified up to a documents root key that you pin, and
    the policy must be the one that you name, since authors of others have signed documents too. Only callers
    whom the policy allows can have the KMS help them open the result.

    Standard output holds the sealed secret and nothing else. With --json and without --out, it is inside the
    JSON object, in its text form.
    """
    target = verified_target(**{name: options.pop(name) for name in TARGET_OPTIONS})
    with input_stream(secret) as stream:
        write_sealed(
            lambda sink: _seal(stream, sink, target, **options), target, form=form, out=out, as_json=as_json
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
