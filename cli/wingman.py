"""The program `wingman`: the sidecar through which programs reach the KMS."""

import click

from cli.program import Entry, Program, run

program = Program(
    "wingman",
    {
        "serve": Entry("cli.sidecar.serve:serve", "Serve until SIGTERM or Ctrl-C."),
        "exec": Entry(
            "cli.sidecar.exec:exec_",
            "Run a program once its secrets are there, and serve for as long as it runs.",
        ),
        "status": Entry("cli.sidecar.status:status", "Show how a Wingman is."),
        "completion": Entry(
            "cli.completion:completion", "Print the script that completes this program's commands."
        ),
    },
    help="Secrets and an identity for the programs of this machine, in one HTTP call.",
    epilog="""\b
Example:
  wingman serve --config wingman.yaml
  curl --unix-socket /run/wingman/wingman.sock http://localhost/status""",
)
click.version_option(package_name="blindfold-kms")(program)


def main() -> None:
    run(program)
