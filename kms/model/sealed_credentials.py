"""Sealed credentials name the server that they may be sent to.

Whoever writes an access decides where a workload sends what it opens. A secret that was sealed for something
else must not go there, so the name inside the sealed file, which is authenticated, is the endpoint and what
proves to be it. It is looked at when an access is written, and verified by whoever opens the credential.
"""

import io

from blindfold.envelope import read_header
from blindfold.errors import BlindfoldError
from kms.errors import InvalidField
from kms.model.secret_management_access import SecretManagementAccess
from kms.model.secret_type import BlindfoldSecret


def check_sealed_credentials(access: SecretManagementAccess, tenant: str) -> None:
    """That every sealed credential can be read, is the tenant's, and is for the endpoint.

    Raises `InvalidField` at the credential.
    """
    for path, secret in access.credentials.items():
        if isinstance(secret, BlindfoldSecret):
            _check(secret, tenant, access.addressee, f"{path}.location")


def _check(secret: BlindfoldSecret, tenant: str, addressee: str, field: str) -> None:
    try:
        header, _, _ = read_header(io.BytesIO(secret.sealed))
    except BlindfoldError as error:
        problem = str(error)
    else:
        if header.lock.tenant != tenant:
            problem = "is sealed for another tenant"
        elif header.metadata.name != addressee:
            problem = f"is not sealed for the endpoint; seal it with --name '{addressee}'"
        elif secret.expect_name not in ("", addressee):
            problem = "is expected to have another name than the endpoint"
        else:
            return
    raise InvalidField(field, problem)
