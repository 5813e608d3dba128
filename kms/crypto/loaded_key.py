"""What the key families share: fresh or imported material, and the base of loaded keys."""

from dataclasses import dataclass
from typing import Any, NoReturn

from blindfold.secret import SecretBytes
from kms.model.algorithms import Algorithm


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """One version's key as it is stored: raw bytes or, for RSA, PKCS#8 in DER.

    `public_key` is an SPKI in DER, empty for symmetric keys.
    """

    material: SecretBytes
    public_key: bytes = b""


class LoadedKey:
    """A key ready for use. It does not print, copy or pickle; it lasts as long as somebody holds it."""

    __slots__ = ("algorithm", "public_key")

    def __init__(self, algorithm: Algorithm, public_key: bytes = b"") -> None:
        self.algorithm = algorithm
        self.public_key = public_key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.algorithm.name})"

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a loaded key is neither copied nor pickled")

    __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = _refuse
