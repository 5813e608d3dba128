"""The program `kms`: run the key management service, and manage what it keeps."""

import click

from cli.program import Entry, Program, run

program = Program(
    "kms",
    {
        "init": Entry("cli.local.init:init", "Make a new KMS."),
        "recover": Entry("cli.local.recover:recover", "Issue new credentials for a known identity."),
        "completion": Entry(
            "cli.completion:completion", "Print the script that completes this program's commands."
        ),
    },
    help="Run the key management service, and manage what it keeps.",
    epilog="""\b
Example:
  kms init --data kms-data --tenant acme
  kms serve --data kms-data""",
)
click.version_option(package_name="blindfold-kms")(program)


def main() -> None:
    run(program)
