"""Who may call what, as a running KMS decides it: each built-in role alone, by every method that is served.

`WRITE_ROLES=1 pytest tests/server/test_role_grid.py` writes what it finds into docs/roles.md.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from grpc import StatusCode
from server.asking import ask, try_well
from server.made_requests import Attempt, attempts, resource_names
from server.watched_kms import WatchedKms

from kms.authz.roles import ENROLLER, OPERATOR, ROLES
from kms.client.channel import open_channel
from kms.identity.grant import Grant
from kms.model.names import Identity, IdentityName, OperatorName, SiteName

# What needs a certificate and no permission.
OPEN = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/kms.v1.IdentityService/RenewCertificate",
)
PAGE = Path(__file__).parents[2] / "docs" / "roles.md"
BEGIN, END = "<!-- begin grid -->\n", "<!-- end grid -->\n"
# Nothing of these names is there, so that whoever is permitted finds nothing to change.
TENANT, NAMESPACE, ID = "acme", "missing", "missing"
PREFIX = "10.0.0.0/8"
TENANT_TEXTS = (*resource_names(TENANT, NAMESPACE, ID), ID, PREFIX)
# What an operator names: a tenant that is not there, or what is of no tenant.
ABSENT_TEXTS = (*resource_names("missing", NAMESPACE, ID), ID, PREFIX)
PLATFORM_TEXTS = (f"operators/{ID}", ID)
NO_ROLE = ""
# How refusals for want of a role, or for the tenant, are told in the audit trail alone.
REFUSED = frozenset({"DENIED", "OTHER_TENANT"})


@dataclass(frozen=True, order=True)
class Bound:
    """A role, in the whole tenant ("") or in a namespace."""

    role: str
    namespace: str = ""

    @property
    def text(self) -> str:
        return f"{self.role}@{self.namespace}" if self.namespace else self.role

    @property
    def grant(self) -> Grant:
        identifier = self.text.replace("@", "-at-") or "nobody"
        kinds: Mapping[str, Identity] = {
            OPERATOR: OperatorName(identifier),
            ENROLLER: SiteName(TENANT, identifier),
        }
        identity = kinds.get(self.role, IdentityName(TENANT, "prod", identifier))
        return Grant(identity, roles=frozenset({self.text} - {NO_ROLE}))


BOUND = [
    Bound(NO_ROLE),
    *(Bound(role, where) for role in sorted(ROLES) for where in ("", NAMESPACE, "other")),
]


@dataclass
class Trail:
    """The decisions of a running KMS, by request id."""

    watched: WatchedKms
    read: int = 0
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def event(self, request_id: str) -> dict[str, Any] | None:
        """The last event of a call."""
        with self.lock:
            while batch := self.watched.kms.vault.store.events(self.read, 1000):
                self.read = batch[-1].sequence
                self.events |= {
                    body["request_id"]: body for body in (json.loads(item.body) for item in batch)
                }
        return self.events.get(request_id)


@dataclass
class Grid:
    """`permitted` are the methods that a bound role may call, named as in `methods`, by whom."""

    methods: list[str]
    permitted: dict[Bound, set[str]]

    def of(self, role: str, namespace: str = "") -> set[str]:
        return self.permitted[Bound(role, namespace)]


def measure(watched: WatchedKms) -> Grid:
    """Ask everything as everybody."""
    described = {path: method for path, method in watched.main.methods.items() if path not in OPEN}
    trail, numbers = Trail(watched), count()
    permitted: dict[Bound, set[str]] = {}
    with _channels(watched) as channels, ThreadPoolExecutor(8) as workers:

        def walk(texts: Sequence[str]) -> list[Attempt]:
            """The attempts that are well-formed with such names."""
            walked = [item for method in described.values() for item in attempts(method, texts)]
            outcomes = workers.map(lambda attempt: try_well(channels[Bound(NO_ROLE)], attempt), walked)
            return [item for item, outcome in zip(walked, outcomes, strict=True) if not outcome.violations]

        def is_permitted(bound: Bound, attempt: Attempt) -> bool:
            request_id = f"grid-{next(numbers)}"
            outcome = ask(channels[bound], attempt, request_id)
            # Of what reads much, a caller has two open at once.
            while outcome.code is StatusCode.RESOURCE_EXHAUSTED:
                outcome = ask(channels[bound], attempt, request_id)
            event = trail.event(request_id)
            if event is None:
                # Found malformed by what is asked after the role: without one it was refused for that.
                assert outcome.violations, f"{bound.text} {attempt}: no event, but an answer"
                return True
            return event["decision"] != "DENY" or event["reason"] not in REFUSED

        def found(bound: Bound, walked: Sequence[Attempt]) -> set[str]:
            answers = workers.map(lambda attempt: is_permitted(bound, attempt), walked)
            return {str(attempt) for attempt, answer in zip(walked, answers, strict=True) if answer}

        of_tenant = walk(TENANT_TEXTS)
        of_platform = [*walk(ABSENT_TEXTS), *walk(PLATFORM_TEXTS)]
        for bound in BOUND:
            permitted[bound] = found(bound, of_platform if bound.role == OPERATOR else of_tenant)
    return Grid([str(attempt) for attempt in of_tenant], permitted)


@contextmanager
def _channels(watched: WatchedKms) -> Iterator[dict[Bound, Any]]:
    channels = {}
    for bound in BOUND:
        directory = watched.kms.directory / "grid" / (bound.text or "nobody")
        directory.parent.mkdir(exist_ok=True)
        watched.kms.issue(bound.grant, directory)
        channels[bound] = watched.kms.contexts.enter_context(open_channel(watched.kms.target, directory))
    yield channels


def render(grid: Grid) -> str:
    """The grid as a table in Markdown."""
    roles = list(ROLES)
    lines = ["| | " + " | ".join(f"`{role}`" for role in roles) + " |", "|---|" + "---|" * len(roles)]
    service = ""
    for method in sorted(grid.methods):
        _, of_service, name = method.split("/")
        if of_service != service:
            service = of_service
            lines.append(f"| **{service.rpartition('.')[2]}** |" + " |" * len(roles))
        cells = [_cell(grid, method, role) for role in roles]
        lines.append(f"| {name.replace(' ', ': ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(grid: Grid, method: str, role: str) -> str:
    if method in grid.of(NO_ROLE) and role != OPERATOR:
        return "any"
    if role == OPERATOR:
        return "yes" if method in grid.of(role) else ""
    where = method in grid.of(role), method in grid.of(role, NAMESPACE)
    return {(True, True): "yes", (True, False): "tenant", (False, False): ""}[where]


def with_table(page: str, table: str) -> str:
    """The page with the table in its place. Raises `ValueError` where there is none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for the grid")
    return f"{before}{begin}\n{table}\n\n{end}{after}"
