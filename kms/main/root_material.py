"""The root of trust of a store: the store says which it is, the caller where its material comes from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore, read_record, unlock_store
from kms.crypto.device.device import Device
from kms.crypto.root_of_trust.interface import RootKeyRecord, RootOfTrust
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.crypto.root_of_trust.passphrase import Passphrase
from kms.crypto.root_of_trust.pkcs11 import Pkcs11
from kms.crypto.root_of_trust.shamir import Shamir, ShareSet
from kms.crypto.sharing import Sharing
from kms.errors import ConfigError
from kms.main.configuration import PKCS11, Configuration
from kms.main.device import device_of
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import LockedStore, Settings

# Given how many shares are needed; all of them.
ReadShares = Callable[[int], Sequence[SecretBytes]]


@dataclass(frozen=True, slots=True)
class Material:
    """Only what is needed is asked for. `read_shares` is None where nobody is there to give any."""

    read_passphrase: Callable[[], SecretBytes]
    read_shares: ReadShares | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """What a provider is made from."""

    configuration: Configuration
    record: RootKeyRecord
    material: Material
    device: Device | None


def _shamir(request: _Request) -> RootOfTrust:
    threshold = ShareSet.of(request.record).threshold
    if request.material.read_shares is None:
        raise ConfigError(f"the root of trust is {threshold} shares; give them with --share-file")
    return Shamir.combine(request.record, request.material.read_shares(threshold))


_PROVIDERS: Mapping[str, Callable[[_Request], RootOfTrust]] = MappingProxyType(
    {
        "keyfile": lambda request: Keyfile(request.configuration.keyfile_path),
        "passphrase": lambda request: Passphrase(request.material.read_passphrase()),
        "shamir": _shamir,
        PKCS11: lambda request: _pkcs11(request.device),
    }
)


def root_of_trust(
    configuration: Configuration, record: RootKeyRecord, material: Material, device: Device | None = None
) -> RootOfTrust:
    """The provider that the store's record names. `device` is the configuration's.

    Raises `ConfigError`, and what reading the material raises.
    """
    make = _PROVIDERS.get(record.provider)
    if make is None:
        raise ConfigError(f"the store's root of trust is {record.provider!r}, which this version lacks")
    return make(_Request(configuration, record, material, device))


def new_root_of_trust(
    configuration: Configuration, material: Material, device: Device | None, sharing: Sharing | None
) -> tuple[RootOfTrust, Sequence[SecretBytes]]:
    """A new one of the configured provider, and the shares to give out. Raises `ConfigError`."""
    provider = configuration.root_of_trust
    if provider == Shamir.provider:
        if sharing is None:
            raise ConfigError("a root of trust of shares needs to know how many, and for whom")
        return sharing.create()
    if provider == "keyfile":
        return _keyfile(configuration.keyfile_path), ()
    if provider == PKCS11:
        return _pkcs11(device), ()
    return Passphrase(material.read_passphrase()), ()


def _keyfile(path: Path) -> Keyfile:
    """The one that is there, as from before a crash, or another."""
    return Keyfile(path) if path.exists() else Keyfile.create(path)


def _pkcs11(device: Device | None) -> RootOfTrust:
    if device is None:
        raise ConfigError("the root of trust is a device, and there is none")
    return Pkcs11(device)


@contextmanager
def open_vault(configuration: Configuration, material: Material) -> Iterator[AuthenticatedStore]:
    """The store of a server that does not run, unlocked. Raises as `unlock_store` and `root_of_trust`."""
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    with device_of(configuration) as device:
        locked = LockedStore.open(configuration.store_path)
        try:
            provider = root_of_trust(configuration, read_record(locked), material, device)
            vault = unlock_store(locked, settings, provider)
        except BaseException:
            locked.close()
            raise
        with closing(vault):
            yield vault
