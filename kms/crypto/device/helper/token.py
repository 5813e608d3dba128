"""The token as the helper knows it: found, logged in to, and its keys looked up.

`pkcs11` initialises modules without their locks (`C_Initialize(NULL)`), so that a process may work with one
from one thread only. Each helper is such a process, with one session; several helpers make a pool.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass

from kms.crypto.device.messages import Status
from kms.crypto.private_file import read_private
from kms.errors import ConfigError

Attributes = dict[Attribute, Any]

KINDS = (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY)
# Seconds to wait after each attempt to reach the token.
DELAYS = (0.05, 0.1, 0.2, 0.4, 0.0)
MAX_PIN_FILE = 256
MAX_KEPT = 20_000

PIN_ERRORS = (
    pkcs11.PinExpired,
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
)
STALE = (pkcs11.ObjectHandleInvalid, pkcs11.KeyHandleInvalid)


class Refused(Exception):
    """Why a request, or all of them, cannot be served; the text is for people."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Token:
    """A token with a session. `keys` are those that were looked up, by class and id."""

    def __init__(self, module: Path, name: str, pin_file: Path) -> None:
        """Load the module, find the token of that label or serial number, log in. Raises `Refused`."""
        self._name = name
        self._pin_file = pin_file
        self._path = str(module)
        self._module: Any = None
        self._open()
        self.serial, self.label = self._token.serial, self._token.label

    def key(self, kind: ObjectClass, key_id: bytes) -> pkcs11.Object:
        """The one key of that class and id. Raises `Refused`."""
        found = self._keys.get((kind, key_id))
        if found is None:
            found = self._one(kind, key_id)
            self._keys[kind, key_id] = found
            if len(self._keys) > MAX_KEPT:
                self._keys.popitem(last=False)
        return found

    def forget(self, key_id: bytes) -> None:
        """Have a key looked up again the next time."""
        for kind in KINDS:
            self._keys.pop((kind, key_id), None)

    def find(self, attributes: Attributes, kinds: Sequence[ObjectClass] = KINDS) -> list[pkcs11.Object]:
        """All keys like that. Where there seem to be none, a new session has looked again.

        Modules keep lists of objects, and may miss what other processes made since (SoftHSM does, where
        several make objects at once). Raises `Refused`.
        """
        found = self._seen(attributes, kinds)
        if not found:
            self.look_anew()
            found = self._seen(attributes, kinds)
        return found

    def look_anew(self) -> None:
        """Begin again with the module, which then sees all that is there. Raises `Refused`."""
        self._open()
        if self._token.serial != self.serial:
            raise Refused(Status.GONE, "another token took its place")

    def is_there(self) -> bool:
        """Whether the token answers, and is the same."""
        try:
            return self._token.slot.get_token().serial == self.serial
        except pkcs11.PKCS11Error:
            return False

    @property
    def session(self) -> pkcs11.Session:
        return self._session

    def _open(self) -> None:
        """Load the module, or begin again with it, until the token is there, or for a second.

        Modules fail for a moment while other processes write to the token (SoftHSM does).
        """
        self._keys: OrderedDict[tuple[ObjectClass, bytes], pkcs11.Object] = OrderedDict()
        for delay in DELAYS:
            try:
                self._token = _find_token(self._loaded(), self._name)
                break
            except Refused as error:
                refused = error
                time.sleep(delay)
        else:
            raise refused
        self._session = _log_in(self._token, self._pin_file)

    def _loaded(self) -> Any:
        """The module at its beginning. Raises `Refused`."""
        try:
            if self._module is not None:
                self._module.finalize()
            self._module = pkcs11.lib(self._path)
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            text = f"the module {self._path} does not load: {_named(error)}"
        else:
            return self._module
        raise Refused(Status.GONE, text)

    def _seen(self, attributes: Attributes, kinds: Sequence[ObjectClass]) -> list[pkcs11.Object]:
        """The search is over when this returns."""
        return [
            key for kind in kinds for key in self._session.get_objects(attributes | {Attribute.CLASS: kind})
        ]

    def _one(self, kind: ObjectClass, key_id: bytes) -> pkcs11.Object:
        found = self.find({Attribute.ID: key_id}, [kind])
        if len(found) == 1:
            return found[0]
        raise Refused(Status.ABSENT, "no such key" if not found else "several keys have the id")


def _find_token(module: Any, name: str) -> pkcs11.Token:
    try:
        tokens = [slot.get_token() for slot in module.get_slots(token_present=True)]
    except pkcs11.PKCS11Error as error:
        raise Refused(Status.GONE, f"the module tells no tokens: {_named(error)}") from None
    fitting: list[pkcs11.Token] = [
        token for token in tokens if name in (token.label, token.serial.decode("ascii", "replace"))
    ]
    if len(fitting) != 1:
        there = ", ".join(repr(token.label) for token in tokens if token.label) or "none"
        raise Refused(Status.GONE, f"{len(fitting)} tokens are called {name!r}; there are: {there}")
    return fitting[0]


def _log_in(token: pkcs11.Token, pin_file: Path) -> pkcs11.Session:
    try:
        pin = read_private(pin_file, "PIN file", MAX_PIN_FILE).decode().rstrip("\n")
        return token.open(rw=True, user_pin=pin)
    except PIN_ERRORS as error:
        refused = Refused(Status.PIN_REFUSED, f"the PIN was refused ({_named(error)})")
    except (ConfigError, UnicodeDecodeError) as error:
        text = error.message if isinstance(error, ConfigError) else "the PIN file is not UTF-8"
        refused = Refused(Status.GONE, text)
    except pkcs11.PKCS11Error as error:
        refused = Refused(Status.GONE, f"no session with the token: {_named(error)}")
    raise refused


def _named(error: Exception) -> str:
    """The error's kind alone: its text is the module's."""
    return type(error).__name__
