"""The token as the helper knows it: found, logged in to, and its keys looked up.

`pkcs11` initialises modules without their locks (`C_Initialize(NULL)`), so that a process may work with one
from one thread only. Each helper is such a process, with one session; several helpers make a pool.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, ObjectClass

from kms.crypto.device.messages import Status
from kms.crypto.private_file import read_private
from kms.errors import ConfigError

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


@dataclass(slots=True)
class Token:
    """A token with a session. `keys` are those that were looked up, by class and id."""

    slot: pkcs11.Slot
    serial: bytes
    label: str
    session: pkcs11.Session
    keys: OrderedDict[tuple[ObjectClass, bytes], pkcs11.Object] = field(default_factory=OrderedDict)

    def key(self, kind: ObjectClass, key_id: bytes) -> pkcs11.Object:
        """The one key of that class and id. Raises `Refused`."""
        place = (kind, key_id)
        found = self.keys.get(place)
        if found is None:
            found = self._look_up(kind, key_id)
            self.keys[place] = found
            if len(self.keys) > MAX_KEPT:
                self.keys.popitem(last=False)
        return found

    def forget(self, key_id: bytes) -> None:
        """Have a key looked up again the next time."""
        for kind in (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY):
            self.keys.pop((kind, key_id), None)

    def objects(self, attributes: dict[Attribute, object]) -> list[pkcs11.Object]:
        """All objects like that: the search is over when this returns."""
        return list(self.session.get_objects(attributes))

    def is_there(self) -> bool:
        """Whether the token answers, and is the same."""
        try:
            return self.slot.get_token().serial == self.serial
        except pkcs11.PKCS11Error:
            return False

    def _look_up(self, kind: ObjectClass, key_id: bytes) -> pkcs11.Object:
        found = self.objects({Attribute.CLASS: kind, Attribute.ID: key_id})
        if len(found) == 1:
            return found[0]
        if not self.is_there():
            raise Refused(Status.GONE, "the token is not there any more")
        raise Refused(Status.ABSENT, "no such key" if not found else "several keys have the id")


def open_token(module: Path, name: str, pin_file: Path) -> Token:
    """Load the module, find the token of that label or serial number, log in. Raises `Refused`."""
    try:
        slots = pkcs11.lib(str(module)).get_slots(token_present=True)
        tokens = [slot.get_token() for slot in slots]
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise Refused(Status.GONE, f"the module {module} does not load: {_named(error)}") from None
    fitting = [token for token in tokens if name in (token.label, token.serial.decode("ascii", "replace"))]
    if len(fitting) != 1:
        there = ", ".join(repr(token.label) for token in tokens if token.label) or "none"
        raise Refused(Status.GONE, f"{len(fitting)} tokens are called {name!r}; there are: {there}")
    token = fitting[0]
    return Token(token.slot, token.serial, token.label, _log_in(token, pin_file))


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
