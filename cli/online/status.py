"""`kms status`: how the server is."""

import click

from cli.online.session import Session, online


@click.command(
    epilog="""\b
Example:
  kms status --credentials /var/lib/kms/credentials/operator"""
)
@online()
def status(session: Session) -> None:
    """Show the state of the server; for the platform's operators."""
    session.show(session.call("StatusService", "GetStatus", {}))
