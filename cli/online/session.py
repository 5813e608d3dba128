"""What every call to the KMS needs: who asks, whom, in which tenant, and how the answer is shown."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.connection import Connection, connection_options
from cli.errors import UsageError
from cli.online.call_errors import reported
from cli.online.names import tenant_of
from cli.online.renewal import renew_when_due, usable_credentials
from cli.online.view import person, view
from cli.options import FILE, TENANT_ENV, json_option, read_profile
from cli.output import printable, write_fields, write_json, write_table
from cli.secret_io import public_sink
from kms.client.api import Api, Keep, keep_nothing
from kms.client.channel import open_channel
from kms.errors import InvalidField
from kms.identity.spiffe import SpiffeId
from kms.model.names import TenantName
from kms.model.receipt import Receipt

_Command = TypeVar("_Command", bound=Callable[..., Any])
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection. `tenant` is "" where nobody named one and the caller is an operator."""

    api: Api
    connection: Connection
    spiffe_id: str
    tenant: str
    as_json: bool

    @property
    def parent(self) -> str:
        """The tenant's name. Raises `UsageError` if it is not known."""
        if not self.tenant:
            raise UsageError("the tenant is not known", hint="Give --tenant ID.")
        return str(TenantName(self.tenant))

    @property
    def trust_domain(self) -> str:
        """Raises `UsageError` where the certificate is of another authority."""
        try:
            return SpiffeId.parse(self.spiffe_id).trust_domain
        except InvalidField:
            pass
        raise UsageError(
            "the trust domain is not known from these credentials",
            hint="Write SPIFFE ids (spiffe://...) instead of names.",
        )

    def call(self, service: str, method: str, request: Mapping[str, Any]) -> Answer:
        """One call, in the API's JSON. Raises `CallFailed`."""
        return self.api.call(service, method, request)

    def all_of(
        self, service: str, method: str, request: Mapping[str, Any], field: str, limit: int | None = None
    ) -> list[Answer]:
        """The items of all pages, or the first `limit` of them. Raises `CallFailed`."""
        found: list[Answer] = []
        token = ""
        while limit is None or len(found) < limit:
            page = self.call(service, method, {**request, "page_token": token})
            found += page.get(field, [])
            token = page.get("next_page_token", "")
            if not token:
                break
        return found[:limit]

    def show(self, answer: Mapping[str, Any]) -> None:
        """One resource."""
        self.show_view(view(answer))

    def show_view(self, shown: Mapping[str, Any]) -> None:
        """One resource that is as `view` would have it."""
        if self.as_json:
            write_json(shown)
        else:
            write_fields(person(shown))

    def table(self, answers: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """A list of resources: for a program all of each, for a person some columns."""
        shown = [view(answer) for answer in answers]
        if self.as_json:
            write_json(shown)
        else:
            flat = [person(item) for item in shown]
            write_table([{name: item.get(name, "") for name in columns} for item in flat])

    def lines(self, answers: Sequence[Mapping[str, Any]], line: Callable[[Mapping[str, Any]], str]) -> None:
        """A list of things that are a line each for a person."""
        shown = [view(answer) for answer in answers]
        if self.as_json:
            write_json(shown)
        else:
            for item in shown:
                click.echo(printable(line(item)))


@contextmanager
def opened_session(
    connection: Connection, tenant: str, *, renew: bool, as_json: bool, keep: Keep = keep_nothing
) -> Iterator[Session]:
    """Connects lazily: what cannot be reached is noticed at the first call.

    Raises `ConfigError` for unusable credentials, `CliError` for expired ones.
    """
    spiffe_id = usable_credentials(connection.credentials).spiffe_id
    if renew:
        renew_when_due(connection)
    with open_channel(connection.server, connection.credentials) as channel:
        yield Session(Api(channel, keep=keep), connection, spiffe_id, tenant or tenant_of(spiffe_id), as_json)


def online(*, keep: bool = False) -> Callable[[_Command], _Command]:
    """The options of every call to the KMS. The command gets `session` for them.

    With `keep` it gets `profile_path` and `tenant` too.
    """

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def call(
            *,
            server: str | None,
            credentials: Path | None,
            profile_path: Path | None,
            tenant: str | None,
            no_renew: bool,
            receipts: Path | None,
            as_json: bool,
            **rest: Any,
        ) -> None:
            kept = {"profile_path": profile_path, "tenant": tenant} if keep else {}
            connection = Connection.resolve(server, credentials, profile_path)
            tenant = tenant or read_profile(profile_path).tenant
            how = {"renew": not no_renew, "as_json": as_json}
            with (
                reported(),
                _written(receipts) as keep_receipt,
                opened_session(connection, tenant, keep=keep_receipt, **how) as session,
            ):
                command(session=session, **rest, **kept)

        options = (connection_options, _tenant_option, _no_renew_option, _receipts_option, json_option)
        return functools.reduce(lambda inner, option: option(inner), reversed(options), call)  # type: ignore[return-value]

    return decorate


@contextmanager
def _written(receipts: Path | None) -> Iterator[Keep]:
    """What keeps receipts until the command ends, however it does, and then writes them to the file."""
    if receipts is None:
        yield keep_nothing
        return
    kept: list[Receipt] = []
    try:
        yield kept.append
    finally:
        with public_sink(receipts, binary=False) as sink:
            sink.write("".join(f"{receipt}\n" for receipt in kept).encode())


def _receipts_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--receipts",
        type=FILE,
        help="Write where the events of the calls stand in the audit chain, for `kms audit prove`.",
    )(command)


def _tenant_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--tenant",
        metavar="ID",
        envvar=TENANT_ENV,
        show_envvar=True,
        help="Tenant that short names are in; by default that of the credentials.",
    )(command)


def _no_renew_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--no-renew", is_flag=True, help="Leave the credentials as they are, even if they end soon."
    )(command)
