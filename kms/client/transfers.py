"""Key material on its way into a KMS, out of it and across (docs/spec/ciphertext.md, "Wrapping").

Material is wrapped before it leaves this process, and what is exported is wrapped to a key that stays in it.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.crypto.key_wrapping import Recipient, Unwrapper, proof_message
from kms.model.names import ImportKeyName, KeyName, KeyVersionName, NamespaceName
from protos.kms.v1 import import_service_pb2 as pb
from protos.kms.v1.key_pb2 import KeyAlgorithm, KeyVersion

SERVICE = "ImportService"
_PREFIX = "KEY_ALGORITHM_"


@dataclass(frozen=True, slots=True)
class ImportKey:
    """An RSA public key (SubjectPublicKeyInfo in DER) to wrap the material of one import to."""

    name: ImportKeyName
    public_key: bytes
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Exported:
    """A version's material, wrapped to the recipient that asked for it."""

    name: KeyVersionName
    algorithm: str
    wrapped_key: bytes


def create_import_key(api: Api, parent: NamespaceName, imports: int = 1) -> ImportKey:
    """A key for so many imports by this caller, 1 to 1,000. Raises `CallFailed`."""
    request = pb.CreateImportKeyRequest(parent=str(parent), max_imports=imports)
    made = api.exchange(SERVICE, "CreateImportKey", request, pb.ImportKey)
    return ImportKey(ImportKeyName.parse(made.name), made.public_key, made.expire_time.ToDatetime(tzinfo=UTC))


def import_material(
    api: Api, key: KeyName, material: SecretBytes, *, algorithm: str = "", make_primary: bool = False
) -> KeyVersionName:
    """A new version of key with material: raw AES or HMAC bytes, or an RSA key as PKCS #8 in DER.

    `algorithm` is by default the key's. Raises `CallFailed`, and `ValueError` for no material or more than
    4,096 bytes of it.
    """
    towards = create_import_key(api, NamespaceName(key.tenant, key.namespace))
    wrapped = Recipient(towards.public_key).wrap(material)
    return import_wrapped(api, key, towards.name, wrapped, algorithm=algorithm, make_primary=make_primary)


def import_wrapped(
    api: Api,
    key: KeyName,
    import_key: ImportKeyName,
    wrapped_key: bytes,
    *,
    algorithm: str = "",
    make_primary: bool = False,
) -> KeyVersionName:
    """As `import_material`, of material that somebody wrapped to the import key. Raises `CallFailed`."""
    wrapped = pb.WrappedMaterial(import_key=str(import_key), wrapped_key=wrapped_key)
    request = pb.ImportKeyVersionRequest(
        parent=str(key), algorithm=_number(algorithm), wrapped=wrapped, make_primary=make_primary
    )
    return _version(api, "ImportKeyVersion", request)


def import_public_key(api: Api, key: KeyName, public_key: bytes, *, algorithm: str = "") -> KeyVersionName:
    """A version that verifies or encrypts only. `public_key` is a SubjectPublicKeyInfo in DER.

    Raises `CallFailed`.
    """
    request = pb.ImportKeyVersionRequest(parent=str(key), algorithm=_number(algorithm), public_key=public_key)
    return _version(api, "ImportKeyVersion", request)


def copy_key(
    api: Api, source: KeyVersionName, destination: KeyName, *, make_primary: bool = False
) -> KeyVersionName:
    """A new version of destination with the material of source. Raises `CallFailed`."""
    request = pb.CopyKeyRequest(source=str(source), destination=str(destination), make_primary=make_primary)
    return _version(api, "CopyKey", request)


def export_key(api: Api, version: KeyVersionName, recipient: Unwrapper) -> Exported:
    """The material of a LOW version; `recipient.unwrap` has it out of `wrapped_key`. Raises `CallFailed`."""
    name = str(version)
    begun = api.exchange(SERVICE, "BeginExport", pb.BeginExportRequest(name=name), pb.BeginExportResponse)
    digest = hashlib.sha256(recipient.public_key).digest()
    request = pb.ExportKeyVersionRequest(
        name=name,
        nonce=begun.nonce,
        public_key=recipient.public_key,
        signature=recipient.prove(proof_message(begun.nonce, name, digest)),
    )
    answer = api.exchange(SERVICE, "ExportKeyVersion", request, pb.ExportKeyVersionResponse)
    return Exported(
        KeyVersionName.parse(answer.name),
        KeyAlgorithm.Name(answer.algorithm).removeprefix(_PREFIX),
        answer.wrapped_key,
    )


def _version(
    api: Api, method: str, request: pb.ImportKeyVersionRequest | pb.CopyKeyRequest
) -> KeyVersionName:
    return KeyVersionName.parse(api.exchange(SERVICE, method, request, KeyVersion).name)


def _number(algorithm: str) -> KeyAlgorithm.ValueType:
    """Raises `ValueError` for an algorithm that there is not."""
    return KeyAlgorithm.Value(_PREFIX + (algorithm or "UNSPECIFIED"))
