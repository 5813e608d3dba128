"""`kms init`: a new key management service in an empty directory."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from cli.local.options import data_option
from cli.local.passphrase import passphrase_option, passphrase_reader
from cli.options import FILE, json_option
from cli.output import warn, write_fields, write_json
from cli.sharing import read_sharing, sharing_options
from kms.main.configuration import PROVIDERS, Configuration
from kms.main.initialising import Initialised, initialise
from kms.main.root_material import Material

LISTEN = "127.0.0.1:7443"
ENROLMENT_LISTEN = "127.0.0.1:7444"
LOCAL_NAMES = ("localhost",)
LOCAL_ADDRESSES = ("127.0.0.1",)
SHOWN_ONCE = "next: give each share to one holder, on paper; they are shown this once and kept nowhere"


@click.command(
    epilog="""\b
Example:
  kms init --data /var/lib/kms --tenant acme --trust-domain kms.example.com \\
      --listen 0.0.0.0:7443 --enrolment-listen 0.0.0.0:7444 --dns-name kms.example.com
  kms init --data kms-data --root-of-trust passphrase --passphrase-file passphrase.txt --json
  kms init --data kms-data --root-of-trust pkcs11 --device-module /usr/lib/softhsm/libsofthsm2.so \\
      --device-token kms --device-pin-file pin.txt
  kms init --data kms-data --root-of-trust shamir --threshold 2 \\
      --share-key olga.pub --share-key peter.pub --share-key quinn.pub"""
)
@data_option
@click.option("--tenant", metavar="ID", default="default", show_default=True, help="First tenant.")
@click.option(
    "--trust-domain",
    metavar="NAME",
    default="kms.internal",
    show_default=True,
    help="Name that identities begin with (spiffe://NAME/...); it cannot be changed later.",
)
@click.option("--listen", metavar="HOST:PORT", default=LISTEN, show_default=True, help="Where to serve.")
@click.option(
    "--enrolment-listen",
    metavar="HOST:PORT",
    default=ENROLMENT_LISTEN,
    show_default=True,
    help="Where to enrol new identities.",
)
@click.option(
    "--dns-name",
    "dns_names",
    multiple=True,
    metavar="NAME",
    help="Name that clients reach the server by, besides localhost; may be repeated.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="IP",
    help="Address that clients reach the server by, besides 127.0.0.1 and those it listens on; may be "
    "repeated.",
)
@click.option(
    "--checkpoint-file",
    type=FILE,
    help="Where to keep the newest checkpoint of the store, by which an older store is noticed; by default "
    "checkpoint.json in the directory beside --data that is named the same with -checkpoint at the end.",
)
@click.option(
    "--root-of-trust",
    type=click.Choice(PROVIDERS),
    default=PROVIDERS[0],
    show_default=True,
    help="What protects the root key: a file beside the store, a passphrase asked for at every start, shares "
    "of which any --threshold unlock a started server, or a key in a device.",
)
@click.option("--device-module", type=FILE, help="PKCS 11 library of the device that keeps HIGH keys.")
@click.option("--device-token", metavar="NAME", default="", help="Label or serial number of its token.")
@click.option("--device-pin-file", type=FILE, help="File with the token's user PIN, for its owner alone.")
@sharing_options
@passphrase_option
@json_option
def init(
    data: Path,
    tenant: str,
    passphrase_file: str | None,
    threshold: int | None,
    count: int | None,
    share_keys: tuple[Path, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Make a new KMS: store, root of trust, authorities, an operator, a tenant and its administrator.

    Prints the fingerprint of the documents root, which whoever seals pins with --trust-key, and the audit
    key, which verifies the audit trail. Credentials of the operator and of the tenant's administrator lie in
    the directory; they last 24 hours and renew themselves while they are used.
    """
    configuration = _configuration(data.resolve(), **settings)
    sharing = read_sharing(configuration.root_of_trust, threshold, count, share_keys)
    material = Material(passphrase_reader(passphrase_file, confirm=True))
    result = initialise(configuration, tenant, material, sharing=sharing)
    fields = _fields(configuration, result)
    if as_json:
        write_json({"directory": str(configuration.directory), "warning": result.warning} | fields)
    else:
        write_fields(fields)
    if result.warning:
        warn(result.warning)
    _next_steps(configuration, result)


def _configuration(
    directory: Path,
    *,
    trust_domain: str,
    root_of_trust: str,
    listen: str,
    enrolment_listen: str,
    checkpoint_file: Path | None,
    dns_names: tuple[str, ...],
    addresses: tuple[str, ...],
    device_module: Path | None,
    device_token: str,
    device_pin_file: Path | None,
) -> Configuration:
    listened = [host for host in map(_address_of, (listen, enrolment_listen)) if host]
    return Configuration(
        directory=directory,
        trust_domain=trust_domain,
        root_of_trust=root_of_trust,
        listen=listen,
        enrolment_listen=enrolment_listen,
        checkpoint_file=(checkpoint_file or _default_checkpoint(directory)).resolve(),
        dns_names=_once(*LOCAL_NAMES, *dns_names),
        addresses=_once(*LOCAL_ADDRESSES, *listened, *addresses),
        device_module=str(device_module.resolve()) if device_module else "",
        device_token=device_token,
        device_pin_file=str(device_pin_file.resolve()) if device_pin_file else "",
    )


def _default_checkpoint(directory: Path) -> Path:
    """Not with the store: whoever puts back an old directory would put back its checkpoint too."""
    return directory.with_name(directory.name + "-checkpoint") / "checkpoint.json"


def _address_of(listen: str) -> str:
    """The host, if it is an address that clients can use."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_unspecified else host


def _once(*values: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _fields(configuration: Configuration, result: Initialised) -> dict[str, object]:
    shares = [share.reveal().decode("ascii") for share in result.shares]
    files = [str(path) for path in result.share_files]
    return {
        **({"shares": shares} if shares else {}),
        **({"share_files": files} if files else {}),
        "documents_root": result.documents_root,
        "identity_root": result.identity_root,
        "audit_key": result.audit_key,
        "identity_root_file": str(result.identity_root_file),
        "operator_credentials": str(result.operator_credentials),
        "admin_credentials": str(result.admin_credentials),
        "checkpoint_file": str(configuration.checkpoint_file),
    }


def _next_steps(configuration: Configuration, result: Initialised) -> None:
    lines: tuple[str, ...] = (
        f"next: move {result.identity_root_file} to a place that is offline; it signs new authorities",
        f"next: pin the documents root where secrets are sealed: --trust-key {result.documents_root}",
        f"next: kms serve --data {configuration.directory}",
    )
    if result.shares:
        lines = (SHOWN_ONCE, *lines)
    for line in lines:
        click.echo(line, err=True)
