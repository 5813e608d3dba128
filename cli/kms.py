"""The program `kms`: run the key management service, and manage what it keeps."""

import click

from cli.program import Program, run

program = Program(
    "kms",
    {},
    help="Run the key management service, and manage what it keeps.",
    epilog="""\b
Example:
  kms --version""",
)
click.version_option(package_name="blindfold-kms")(program)


def main() -> None:
    run(program)
