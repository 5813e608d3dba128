"""`kms rate-limiter`, `kms user-identification`: a tenant's own limits, and what tells its users apart."""

import re
from typing import Any

import click

from cli.errors import UsageError
from cli.online.names import resolve
from cli.online.parameters import description_option, etag_option
from cli.online.session import Session, online
from cli.online.tenant_resource import Kind, create, deleting, getting, listing, update
from kms.model.names import RateLimiterName, UserIdentificationName
from kms.model.rate_limit import IdentifierKind, OperationClass, Period

SERVICE = "RateLimitService"
CLASSES = [item.value for item in OperationClass if item is not OperationClass.ENROL]

_RATE = re.compile(r"([0-9]{1,7})/(second|minute|hour)", re.ASCII)


LIMITER = Kind(
    service=SERVICE,
    command="rate-limiter",
    noun="RateLimiter",
    name=RateLimiterName,
    items="rate_limiters",
    columns=("name", "operation_classes", "number", "period", "burst", "user_identification"),
    example="app",
)
IDENTIFICATION = Kind(
    service=SERVICE,
    command="user-identification",
    noun="UserIdentification",
    name=UserIdentificationName,
    items="user_identifications",
    columns=("name", "kind", "header", "description"),
    example="end-user",
)


def rate(text: str) -> dict[str, Any]:
    """`number` and `period` of the API for a rate such as 100/second. Raises `click.BadParameter`."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise click.BadParameter("not a number for each second, minute or hour, such as 100/second")
    return {"number": int(match[1]), "period": f"RATE_PERIOD_{Period(match[2].upper())}"}


_limiter_argument = click.argument("name", metavar="LIMITER")
_identification_argument = click.argument("name", metavar="IDENTIFICATION")
_classes_option = click.option(
    "--class",
    "classes",
    type=click.Choice(CLASSES),
    multiple=True,
    help="Which calls, each class counted apart; may be repeated.",
)
_burst_option = click.option(
    "--burst", type=click.IntRange(1), help="Units at once; by default as many as in a period."
)
_by_option = click.option("--by", metavar="IDENTIFICATION", help="What tells users apart.")
_value_option = click.option(
    "--each-value", type=click.IntRange(1), help="Units in a period for each value of the header."
)
_value_burst_option = click.option(
    "--each-value-burst", type=click.IntRange(1), help="Units at once for each value of the header."
)


def _limiter(session: Session, by: str | None, **given: Any) -> dict[str, Any]:
    """What was given of a limiter, as the API writes it."""
    classes = given.pop("classes")
    limiter = {
        **(given.pop("per") or {}),
        "operation_classes": [f"OPERATION_CLASS_{name}" for name in classes] or None,
        "user_identification": by and str(resolve(UserIdentificationName, by, session.tenant)),
        **given,
    }
    return {field: value for field, value in limiter.items() if value is not None}


@click.command(
    "create",
    epilog="""\b
Example:
  kms rate-limiter create app --class USE --rate 100/second --burst 200
  kms rate-limiter create users --class OPEN --rate 600/minute --by end-user --each-value 10""",
)
@_limiter_argument
@_classes_option
@click.option("--rate", "per", type=rate, required=True, metavar="RATE", help="Such as 100/second.")
@_burst_option
@_by_option
@_value_option
@_value_burst_option
@description_option
@online()
def create_limiter(
    session: Session,
    name: str,
    classes: tuple[str, ...],
    per: dict[str, Any],
    burst: int | None,
    by: str | None,
    each_value: int | None,
    each_value_burst: int | None,
    description: str,
) -> None:
    """Limit the calls of each user of the tenant; by default users are the identities of callers."""
    if not classes:
        raise UsageError("no --class is given", hint=f"Give one or more of {', '.join(CLASSES)}.")
    limiter = _limiter(
        session, by, classes=classes, per=per, burst=burst, value_number=each_value,
        value_burst=each_value_burst, description=description,
    )  # fmt: skip
    create(session, LIMITER, name, limiter)


@click.command(
    "update",
    epilog="""\b
Example:
  kms rate-limiter update app --rate 200/second
  kms rate-limiter update users --by-identity""",
)
@_limiter_argument
@_classes_option
@click.option("--rate", "per", type=rate, metavar="RATE", help="Such as 100/second.")
@_burst_option
@_by_option
@click.option("--by-identity", is_flag=True, help="Tell users apart by their identities again.")
@_value_option
@_value_burst_option
@click.option("--description", help="For people.")
@etag_option
@online()
def update_limiter(
    session: Session,
    name: str,
    classes: tuple[str, ...],
    per: dict[str, Any] | None,
    burst: int | None,
    by: str | None,
    by_identity: bool,
    each_value: int | None,
    each_value_burst: int | None,
    description: str | None,
    etag: str,
) -> None:
    """Change what is given, and leave the rest; it counts from the next call on."""
    if by_identity and (by or each_value or each_value_burst):
        raise UsageError("--by-identity excludes --by, --each-value and --each-value-burst")
    limiter = _limiter(
        session, by, classes=classes, per=per, burst=burst, value_number=each_value,
        value_burst=each_value_burst, description=description,
    )  # fmt: skip
    cleared = ("user_identification", "value_number", "value_burst") if by_identity else ()
    update(session, LIMITER, name, etag, limiter, cleared)


@click.command(
    "create",
    epilog="""\b
Example:
  kms user-identification create site --kind ADDRESS
  kms user-identification create end-user --kind HEADER --header x-user""",
)
@_identification_argument
@click.option(
    "--kind",
    type=click.Choice([item.value for item in IdentifierKind]),
    required=True,
    help="What users are told apart by, for good.",
)
@click.option("--header", default="", help="The header's name, for the kind HEADER.")
@description_option
@online()
def create_identification(session: Session, name: str, kind: str, header: str, description: str) -> None:
    """Say what tells users apart, for rate limiters to name."""
    described = {"kind": f"KIND_{kind}", "header": header, "description": description}
    create(session, IDENTIFICATION, name, described)


@click.command(
    "update",
    epilog="""\b
Example:
  kms user-identification update end-user --header x-end-user""",
)
@_identification_argument
@click.option("--header", help="The header's name.")
@click.option("--description", help="For people.")
@etag_option
@online()
def update_identification(
    session: Session, name: str, header: str | None, description: str | None, etag: str
) -> None:
    """Change what is given, and leave the rest; it counts from the next call on."""
    given = {"header": header, "description": description}
    changed = {field: value for field, value in given.items() if value is not None}
    update(session, IDENTIFICATION, name, etag, changed, ())


get_limiter, list_limiters = getting(LIMITER), listing(LIMITER)
delete_limiter = deleting(LIMITER, "Remove a rate limiter; it limits nobody from the next call on.")
get_identification, list_identifications = getting(IDENTIFICATION), listing(IDENTIFICATION)
delete_identification = deleting(IDENTIFICATION, "Remove a user identification that no limiter names.")
