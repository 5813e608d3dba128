"""The program `blindfold`: seal offline, look at what was sealed, open through the KMS."""

import click

from cli.program import Entry, LazyGroup, Program, run

policy_document = LazyGroup(
    "policy-document",
    {"show": Entry("cli.offline.bundles:show_policy_document", "Show a policy document.")},
    help="Signed policy documents, which secrets are sealed to.",
    epilog="""\b
Example:
  blindfold policy-document show web-tls.policy""",
)
public_key = LazyGroup(
    "public-key",
    {"show": Entry("cli.offline.bundles:show_public_key", "Show a tenant's public key.")},
    help="Signed public keys of tenants, which secrets are sealed with.",
    epilog="""\b
Example:
  blindfold public-key show tenant.key""",
)
program = Program(
    "blindfold",
    {
        "seal": Entry("cli.offline.seal:seal", "Seal a secret to a policy, offline.", alias="encrypt"),
        "inspect": Entry("cli.offline.inspect:inspect", "Show everything public of a sealed secret."),
        "verify": Entry("cli.offline.bundles:verify", "Verify a signed document up to a pinned root."),
        "fingerprint": Entry(
            "cli.offline.bundles:fingerprint", "Print the fingerprint of the root that signed a document."
        ),
        "policy-document": policy_document,
        "public-key": public_key,
        "completion": Entry(
            "cli.completion:completion", "Print the script that completes this program's commands."
        ),
    },
    help="Seal secrets offline to a policy; open them through a KMS that never sees them.",
    epilog="""\b
Example:
  blindfold seal --public-key K --policy-document P --out FILE.sealed FILE""",
)
click.version_option(package_name="blindfold-kms")(program)


def main() -> None:
    run(program)
