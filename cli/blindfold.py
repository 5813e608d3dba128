"""The program `blindfold`: seal offline, look at what was sealed, open through the KMS."""

import click

from cli.program import Entry, LazyGroup, Program, run

policy_document = LazyGroup(
    "policy-document",
    {
        "get": Entry("cli.online.documents:get_policy_document", "Get the signed document of a policy."),
        "show": Entry("cli.offline.bundles:show_policy_document", "Show a policy document."),
    },
    help="Signed policy documents, which secrets are sealed to.",
    epilog="""\b
Example:
  blindfold policy-document get prod/web-tls --out web-tls.policy""",
)
public_key = LazyGroup(
    "public-key",
    {
        "get": Entry("cli.online.documents:get_public_key", "Get the signed public key of the tenant."),
        "show": Entry("cli.offline.bundles:show_public_key", "Show a tenant's public key."),
    },
    help="Signed public keys of tenants, which secrets are sealed with.",
    epilog="""\b
Example:
  blindfold public-key get --out tenant.key""",
)
external = LazyGroup(
    "external",
    {"get": Entry("cli.online.external:get", "Fetch a secret from a vault.")},
    help="Secrets of vaults, to which this program connects itself.",
    epilog="""\b
Example:
  blindfold external get --key password prod/corp-vault secret/db/web""",
)
program = Program(
    "blindfold",
    {
        "seal": Entry("cli.offline.seal:seal", "Seal a secret to a policy, offline.", alias="encrypt"),
        "open": Entry(
            "cli.online.open:open_command", "Open a sealed secret with the help of the KMS.", alias="decrypt"
        ),
        "reseal": Entry("cli.online.reseal:reseal", "Seal a secret anew, to another key version or policy."),
        "inspect": Entry("cli.offline.inspect:inspect", "Show everything public of a sealed secret."),
        "verify": Entry("cli.offline.bundles:verify", "Verify a signed document up to a pinned root."),
        "fingerprint": Entry(
            "cli.offline.bundles:fingerprint", "Print the fingerprint of the root that signed a document."
        ),
        "policy-document": policy_document,
        "public-key": public_key,
        "external": external,
        "completion": Entry(
            "cli.completion:completion", "Print the script that completes this program's commands."
        ),
    },
    help="Seal secrets offline to a policy; open them through a KMS that never sees them.",
    epilog="""\b
Example:
  blindfold seal --public-key K --policy-document P --policy NAME --out FILE.sealed FILE
  blindfold open --out FILE FILE.sealed""",
)
click.version_option(package_name="blindfold-kms")(program)


def main() -> None:
    run(program)
