"""The KMS's own certificate authorities: which there are, and what may become of each.

docs/spec/identity.md, "Replacing an authority". All are one record, so that at any time one of them issues,
and so that a step is taken whole or not at all. Times are UTC.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kms.errors import WrongState
from kms.model.lifecycle import follow
from kms.model.record import Part, Record

# An old root and a new one: the endorsement of a third would not reach the first.
MAX_TRUSTED_ROOTS = 2


class AuthorityState(StrEnum):
    """docs/glossary.md says what each means."""

    PREPARED = "PREPARED"
    ACTIVE = "ACTIVE"
    OLD = "OLD"
    RETIRED = "RETIRED"


class AuthorityVerb(StrEnum):
    """What may happen to an intermediate. `SUPERSEDE` is the activation of another one."""

    ACTIVATE = "activate"
    SUPERSEDE = "supersede"
    RETIRE = "retire"


_S, _V = AuthorityState, AuthorityVerb

TRANSITIONS: dict[tuple[AuthorityState, AuthorityVerb], AuthorityState] = {
    (_S.PREPARED, _V.ACTIVATE): _S.ACTIVE,
    (_S.ACTIVE, _V.SUPERSEDE): _S.OLD,
    (_S.PREPARED, _V.RETIRE): _S.RETIRED,
    (_S.OLD, _V.RETIRE): _S.RETIRED,
}
_TRUSTED = frozenset({AuthorityState.ACTIVE, AuthorityState.OLD})
_WITH_KEY = frozenset({AuthorityState.PREPARED, AuthorityState.ACTIVE})


@dataclass(frozen=True, slots=True)
class RootEntry(Part):
    """A root. `endorsement_pem` is its certificate by the root before it, "" for the first one."""

    id: str
    certificate_pem: str
    endorsement_pem: str
    publish_time: datetime
    retire_time: datetime | None

    @property
    def is_trusted(self) -> bool:
        return self.retire_time is None


@dataclass(frozen=True, slots=True)
class AuthorityEntry(Part):
    """An intermediate. While it is PREPARED it has a request, in PEM, and neither root nor certificate.

    The private key of one that is PREPARED or ACTIVE is in the row of kind `authorityKey` named as its id.
    """

    id: str
    state: str
    csr_pem: str
    root: str
    certificate_pem: str
    prepare_time: datetime
    activate_time: datetime | None
    retire_time: datetime | None

    def __post_init__(self) -> None:
        AuthorityState(self.state)

    def after(self, verb: AuthorityVerb) -> str:
        """The state that follows. Raises `WrongState`."""
        return follow(TRANSITIONS, AuthorityState(self.state), verb, "certificate authority").value

    def retired(self, now: datetime) -> "AuthorityEntry":
        """Raises `WrongState`."""
        return replace(self, state=self.after(AuthorityVerb.RETIRE), retire_time=now)

    @property
    def is_trusted(self) -> bool:
        """Whether its leaves are accepted."""
        return self.state in _TRUSTED


@dataclass(frozen=True, slots=True)
class AuthoritiesRecord(Record):
    """All of them, in the order in which they came. One row, named `online`. Raises `ValueError`."""

    KIND: ClassVar[str] = "authorities"
    roots: tuple[RootEntry, ...]
    authorities: tuple[AuthorityEntry, ...]

    def __post_init__(self) -> None:
        active = [item for item in self.authorities if item.state == AuthorityState.ACTIVE]
        if len(active) != 1:
            raise ValueError("one authority issues, and no other")
        trusted = {item.id for item in self.roots if item.is_trusted}
        if not {item.root for item in self.authorities if item.is_trusted} <= trusted:
            raise ValueError("an authority is trusted, and its root is not")

    @property
    def active(self) -> AuthorityEntry:
        """The one that issues."""
        return next(item for item in self.authorities if item.state == AuthorityState.ACTIVE)

    @property
    def prepared(self) -> AuthorityEntry | None:
        """The one that is to issue next."""
        return next((item for item in self.authorities if item.state == AuthorityState.PREPARED), None)

    @property
    def trusted_roots(self) -> tuple[RootEntry, ...]:
        """That of the active authority first."""
        first = self.active.root
        return tuple(
            sorted((item for item in self.roots if item.is_trusted), key=lambda item: item.id != first)
        )

    @property
    def trusted_authorities(self) -> tuple[AuthorityEntry, ...]:
        return tuple(item for item in self.authorities if item.is_trusted)

    @property
    def with_key(self) -> frozenset[str]:
        """The ids of those whose private key is kept."""
        return frozenset(item.id for item in self.authorities if item.state in _WITH_KEY)

    def trusts(self, authority: str) -> bool:
        return any(item.id == authority for item in self.trusted_authorities)

    def authority(self, identifier: str) -> AuthorityEntry | None:
        return next((item for item in self.authorities if item.id == identifier), None)

    def root(self, identifier: str) -> RootEntry | None:
        return next((item for item in self.roots if item.id == identifier), None)

    def with_prepared(self, entry: AuthorityEntry) -> "AuthoritiesRecord":
        """Raises `WrongState` while another one is prepared."""
        if self.prepared is not None:
            raise WrongState(f"{self.prepared.id} is prepared already; activate or retire it first")
        return replace(self, authorities=(*self.authorities, entry))

    def with_active(
        self, entry: AuthorityEntry, root: str, certificate_pem: str, now: datetime
    ) -> "AuthoritiesRecord":
        """The prepared one issues, with its certificate; the one before it is OLD. Raises `WrongState`."""
        active = replace(
            entry,
            state=entry.after(AuthorityVerb.ACTIVATE),
            csr_pem="",
            root=root,
            certificate_pem=certificate_pem,
            activate_time=now,
        )
        before = replace(self.active, state=self.active.after(AuthorityVerb.SUPERSEDE))
        return self._with(lambda item: {entry.id: active, before.id: before}.get(item.id, item))

    def with_retired(self, entry: AuthorityEntry, now: datetime) -> "AuthoritiesRecord":
        """Nothing of it is trusted. One that was only prepared is forgotten. Raises `WrongState`."""
        retired = entry.retired(now)
        if not entry.certificate_pem:
            return replace(self, authorities=tuple(item for item in self.authorities if item != entry))
        return self._with(lambda item: retired if item == entry else item)

    def with_root(self, entry: RootEntry) -> "AuthoritiesRecord":
        """Raises `WrongState` while two are trusted."""
        if len(self.trusted_roots) >= MAX_TRUSTED_ROOTS:
            raise WrongState(f"{MAX_TRUSTED_ROOTS} roots are trusted already; retire the older one first")
        return replace(self, roots=(*self.roots, entry))

    def with_root_retired(self, entry: RootEntry, now: datetime) -> "AuthoritiesRecord":
        """Neither the root is trusted any more, nor what it signed. Raises `WrongState`."""
        if self.active.root == entry.id:
            raise WrongState(
                f"the authority that issues is of {entry.id}; activate one of another root first"
            )
        roots = tuple(replace(item, retire_time=now) if item == entry else item for item in self.roots)
        authorities = tuple(
            item.retired(now) if item.is_trusted and item.root == entry.id else item
            for item in self.authorities
        )
        return replace(self, roots=roots, authorities=authorities)

    def _with(self, change: Callable[[AuthorityEntry], AuthorityEntry]) -> "AuthoritiesRecord":
        return replace(self, authorities=tuple(map(change, self.authorities)))
