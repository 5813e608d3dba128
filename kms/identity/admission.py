"""Whom other issuers and authorities vouch for: from claims to a name, labels and roles.

Of tokens: docs/spec/identity.md, "Tokens of issuers". Of certificates: "Authorities of tenants".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.extension import Attributes
from kms.model.labels import check_labels, check_roles
from kms.model.names import check_id

MAX_SUBJECTS = 64
MAX_CLAIMS = 16
MAX_TEXT = 256
# The namespace of the tenant's first administrator, whom no issuer may name.
RESERVED_NAMESPACE = "system"

_POINTER = "/"
_PREFIX = "*"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The namespace and the id of an identity, with its labels and roles."""

    namespace: str
    identity: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Admission:
    """Which claims are admitted, and what is granted for them.

    `subjects` are values of `sub`, or what it begins with before a last `*`. `claims` maps JSON pointers (RFC
    6901) to the text that must be there. `namespace`, `identity` and the values of `labels` are words, or a
    JSON pointer to the claim that has it, to the letter. Raises `InvalidField`, `LimitExceeded`.
    """

    subjects: tuple[str, ...]
    claims: Mapping[str, str]
    namespace: str
    identity: str
    labels: Mapping[str, str]
    roles: frozenset[str]

    def __post_init__(self) -> None:
        _check_texts("subjects", self.subjects, MAX_SUBJECTS)
        if not self.subjects:
            raise InvalidField("subjects", "name at least one subject, or one that ends in *")
        if any(_PREFIX in subject[:-1] for subject in self.subjects):
            raise InvalidField("subjects", "have * at their end only")
        _check_texts("claims", (*self.claims, *self.claims.values()), 2 * MAX_CLAIMS)
        for pointer in self.claims:
            _check_pointer("claims", pointer)
        for field, text in (("namespace", self.namespace), ("identity", self.identity)):
            if text.startswith(_POINTER):
                _check_texts(field, (text,), 1)
                _check_pointer(field, text)
            else:
                check_id(text, field)
        if self.namespace == RESERVED_NAMESPACE:
            raise InvalidField("namespace", f"{RESERVED_NAMESPACE} is the administrator's")
        for text in self.labels.values():
            if text.startswith(_POINTER):
                _check_texts("labels", (text,), 1)
                _check_pointer("labels", text)
        words = {key: "" if text.startswith(_POINTER) else text for key, text in self.labels.items()}
        check_labels(words)
        check_roles(self.roles)

    def admit(self, claims: Mapping[str, Any]) -> "Admitted":
        """Whom verified claims are of. Raises `Unauthenticated`, saying which claim is in the way."""
        self._check_admitted(claims)
        namespace = _value(claims, self.namespace)
        if namespace == RESERVED_NAMESPACE:
            raise Unauthenticated(f"nobody is admitted to the namespace {RESERVED_NAMESPACE}")
        labels = {key: _value(claims, text) for key, text in self.labels.items()}
        try:
            identity = check_id(_value(claims, self.identity), "identity")
            return Admitted(check_id(namespace, "namespace"), identity, Attributes(labels, self.roles))
        except InvalidField as error:
            field = error.field
        raise Unauthenticated(f"what is claimed gives no {field} of the KMS")

    def _check_admitted(self, claims: Mapping[str, Any]) -> None:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not any(_admits(item, subject) for item in self.subjects):
            raise Unauthenticated("the subject is not admitted")
        for pointer, text in self.claims.items():
            if _at(claims, pointer) != text:
                raise Unauthenticated(f"{pointer} is not what is admitted")


def _admits(pattern: str, subject: str) -> bool:
    if pattern.endswith(_PREFIX):
        return subject.startswith(pattern[:-1])
    return subject == pattern


def _value(claims: Mapping[str, Any], text: str) -> str:
    value = _at(claims, text) if text.startswith(_POINTER) else text
    if not isinstance(value, str):
        raise Unauthenticated(f"there is no text at {text}")
    return value


def _at(claims: Mapping[str, Any], pointer: str) -> object:
    """What the pointer leads to through objects; None if there is nothing."""
    value: object = claims
    for part in pointer.split(_POINTER)[1:]:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value


def _check_texts(field: str, texts: tuple[str, ...], limit: int) -> None:
    if len(texts) > limit:
        raise LimitExceeded(field, f"at most {limit} are allowed")
    if any(not 0 < len(text.encode()) <= MAX_TEXT for text in texts):
        raise InvalidField(field, f"texts have 1 to {MAX_TEXT} bytes")


def _check_pointer(field: str, text: str) -> None:
    escapes = text.replace("~0", "").replace("~1", "")
    if not text.startswith(_POINTER) or len(text) < 2 or "~" in escapes:
        raise InvalidField(field, f"{text[:80]!r} is no JSON pointer such as /kubernetes.io/namespace")
