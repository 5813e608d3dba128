"""Accesses whose credentials are secrets of other accesses: how far that goes, and that it ends.

Checked when an access is written, and again by whoever resolves its credentials: since then another may
have been changed, by somebody who could not see this one.
"""

from collections.abc import Callable, Iterator

from kms.errors import InvalidField
from kms.model.names import SecretManagementAccessName
from kms.model.predicate import within
from kms.model.secret_management_access import SecretManagementAccess
from kms.model.secret_type import VaultSecret

# How many accesses are reached one through the other, the first one included.
MAX_DEPTH = 4

Find = Callable[[SecretManagementAccessName, str], SecretManagementAccess]


def check_references(name: SecretManagementAccessName, access: SecretManagementAccess, find: Find) -> None:
    """That all credentials, and theirs in turn, are of the same tenant, end, and are not too deep.

    `find` is given a name and the field that has it, and raises what it will for one that is not there.
    Raises `InvalidField` at the field of the access that leads there.
    """
    for field, target, secret in _references(access):
        _follow(field, (name,), target, secret, find)


def _follow(
    field: str,
    through: tuple[SecretManagementAccessName, ...],
    target: SecretManagementAccessName,
    secret: VaultSecret,
    find: Find,
) -> None:
    if target.tenant != through[0].tenant:
        raise InvalidField(field, "names an access of another tenant")
    path = (*through, target)
    if target in through:
        raise InvalidField(field, "is a cycle: " + " -> ".join(map(str, path)))
    if len(path) > MAX_DEPTH:
        raise InvalidField(field, f"is reached through more than {MAX_DEPTH} accesses")
    found = find(target, field)
    if not found.is_rest:
        with within(field):
            found.mount_of(secret.path)
    for _, following, its_secret in _references(found):
        _follow(field, path, following, its_secret, find)


def _references(
    access: SecretManagementAccess,
) -> Iterator[tuple[str, SecretManagementAccessName, VaultSecret]]:
    for field, secret in access.credentials.items():
        if isinstance(secret, VaultSecret):
            yield field, secret.access, secret
