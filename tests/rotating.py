"""A rotation of the root key from its beginning to its end, without a server."""

from kms.audit.authenticated_store import AuthenticatedStore, Describe
from kms.crypto.root_of_trust.interface import RootOfTrust
from kms.model.receipt import Receipt


def rotate(vault: AuthenticatedStore, describe: Describe, provider: RootOfTrust | None = None) -> Receipt:
    """`provider` None: the present one protects the new root key too."""
    receipt = vault.begin_rotation(provider, describe)
    while vault.store.rekeying() is not None:
        vault.step_rotation()
    return receipt
