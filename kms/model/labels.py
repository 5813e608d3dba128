"""The syntax of labels and roles, as identities carry them and policies read them."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kms.errors import InvalidField, LimitExceeded

MAX_LABELS = 64
MAX_ROLES = 64
MAX_LABEL_PREFIX = 253

_NAME = r"[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PREFIX = rf"(?P<prefix>{_DNS_LABEL}(?:\.{_DNS_LABEL})*)/"
_LABEL_KEY = re.compile(rf"(?:{_PREFIX})?{_NAME}", re.ASCII)
_LABEL_VALUE = re.compile(rf"(?:{_NAME})?", re.ASCII)
_ROLE = re.compile(
    r"[a-z](?:[-a-z]{0,61}[a-z])?(?:@[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)?",
    re.ASCII,
)


def check_labels(labels: Mapping[str, str], field: str = "labels") -> Mapping[str, str]:
    """A read-only copy, sorted by key, if every key and value has the syntax of Kubernetes labels.

    Raises `InvalidField`, and `LimitExceeded` above 64 labels.
    """
    if len(labels) > MAX_LABELS:
        raise LimitExceeded(field, f"{len(labels)} labels, at most {MAX_LABELS} are allowed")
    for key, value in labels.items():
        match = _LABEL_KEY.fullmatch(key)
        if match is None or len(match["prefix"] or "") > MAX_LABEL_PREFIX:
            raise InvalidField(field, f"{key[:80]!r} is not a label key ([prefix/]name, as in Kubernetes)")
        if not _LABEL_VALUE.fullmatch(value):
            raise InvalidField(field, f"the value of {key!r} is not a label value (as in Kubernetes)")
    return MappingProxyType(dict(sorted(labels.items())))


def check_roles(roles: Iterable[str], field: str = "roles") -> frozenset[str]:
    """The roles as a set, if each is `role` or `role@namespace`.

    Raises `InvalidField`, and `LimitExceeded` above 64 roles.
    """
    checked = frozenset(roles)
    if len(checked) > MAX_ROLES:
        raise LimitExceeded(field, f"{len(checked)} roles, at most {MAX_ROLES} are allowed")
    for role in sorted(checked):
        if not _ROLE.fullmatch(role):
            raise InvalidField(field, f"{role[:80]!r} is neither role nor role@namespace")
    return checked
