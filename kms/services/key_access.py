"""What callers may do with keys, found out once and kept while no row of the store changes."""

from dataclasses import dataclass, field
from typing import TypeAlias

from kms.model.caller import Caller
from kms.model.names import KeyName
from kms.services.key_handles import KeyUse
from kms.services.key_policies import KeyRules
from kms.services.loaded_keys import LoadedKeys
from kms.services.repository import Repository
from kms.services.use_budget import Counter

# Of (caller, key, operation): each takes some hundred bytes for itself and for each version.
MAX_ACCESSES = 20_000
# Versions of each: a key may have any number of them.
MAX_SERVED = 8

_Key: TypeAlias = tuple[str, str, KeyName, object]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A key version that serves, and what counts its uses; `state` is "" for one that is ENABLED."""

    use: KeyUse
    state: str
    counter: Counter


@dataclass(slots=True, eq=False)
class KeyAccess:
    """What one caller may do with one key by one operation, by the rows of the store's `revision`.

    The caller's role permits the operation. `allowed_by` are the names of the rules by which policies allow
    it for whatever additional authenticated data and at all times; "" where that is not known, and then
    `rules` are to be asked. What is kept has none: they take much more, and have a limit of their own.
    `served` are some versions by number, 0 for the primary, and by whether COMPROMISED ones are known to be.
    """

    revision: int
    caller: Caller
    rules: KeyRules | None
    allowed_by: str = ""
    served: dict[tuple[int, bool], Served] = field(default_factory=dict)

    def settle(self, allowed_by: str) -> None:
        """These rules allow it for whatever data and at all times."""
        self.allowed_by, self.rules = allowed_by, None

    def note(self, wanted: tuple[int, bool], served: Served) -> None:
        """The version that serves who wants that one."""
        if len(self.served) >= MAX_SERVED:
            self.served.clear()
        self.served[wanted] = served


class KeyAccesses:
    """Those that hold for all items. Safe for calls from several threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._kept: LoadedKeys[_Key, KeyAccess] = LoadedKeys(MAX_ACCESSES)

    def get(self, caller: Caller, key: KeyName, operation: object) -> KeyAccess | None:
        """One that was kept, if no row has changed since and the caller is the same in all respects."""
        access = self._kept.get((caller.spiffe_id, caller.address, key, operation))
        if access is None or access.revision != self._repository.revision() or access.caller != caller:
            return None
        return access

    def begin(self) -> int:
        """To be called before rows are read, and given to `keep` with what they gave."""
        return self._kept.begin()

    def keep(self, access: KeyAccess, key: KeyName, operation: object, begun: int) -> None:
        """Keep one that depends on rows alone; any other is left out."""
        if access.rules is None:
            caller = access.caller
            self._kept.keep((caller.spiffe_id, caller.address, key, operation), access, begun)

    def forget(self) -> None:
        """Called when a key version's row is written: as `LoadedKeys.forget`, of all that hold keys."""
        self._kept.forget_all()
