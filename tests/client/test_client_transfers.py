"""Material that is wrapped, imported, copied and exported by the client."""

import uuid
from datetime import timedelta

import pytest
from server.kms_harness import PROD

from blindfold.secret import SecretBytes
from kms.client import transfers
from kms.client.errors import CallInvalid, CallNotFound, CallWrongState
from kms.crypto import key_wrapping
from kms.crypto.key_wrapping import Unwrapper
from kms.model.names import KeyName, KeyVersionName, NamespaceName

MATERIAL = bytes(range(32))


@pytest.fixture(scope="module", autouse=True)
def allowed(kms):
    return kms.allow_keys()


@pytest.fixture(scope="module")
def recipient():
    return Unwrapper(key_wrapping.generate().material)


@pytest.fixture
def key(kms):
    return new_key(kms)


def new_key(kms, purpose="RAW_ENCRYPT_DECRYPT", level="LOW"):
    name = kms.make_key(f"k-{uuid.uuid4().hex[:8]}", purpose, sensitivity=f"SENSITIVITY_{level}")
    return KeyName.parse(name)


def test_import_key_is_one_of_its_namespace(kms):
    made = transfers.create_import_key(kms.as_("key-admin"), NamespaceName.parse(PROD))
    assert str(made.name).startswith(f"{PROD}/importKeys/")
    assert timedelta(hours=23) < made.expire_time - kms.now <= timedelta(hours=24)
    key_wrapping.Recipient(made.public_key)


def test_what_is_imported_is_exported_the_same(kms, key, recipient):
    admin = kms.as_("key-admin")
    made = transfers.import_material(admin, key, SecretBytes(MATERIAL), make_primary=True)
    exported = transfers.export_key(kms.as_("key-user"), made, recipient)
    assert (exported.name, exported.algorithm) == (made, "AES_256_GCM")
    assert recipient.unwrap(exported.wrapped_key).reveal() == MATERIAL
    assert admin.call("KeyService", "GetKey", {"name": str(key)})["primary_version"] == str(made)


def test_material_may_be_of_another_algorithm_of_the_purpose(kms, key):
    admin = kms.as_("key-admin")
    made = transfers.import_material(admin, key, SecretBytes(MATERIAL[:16]), algorithm="AES_128_GCM")
    version = admin.call("KeyService", "GetKeyVersion", {"name": str(made)})
    assert version["algorithm"] == "KEY_ALGORITHM_AES_128_GCM"
    with pytest.raises(CallInvalid):
        transfers.import_material(admin, key, SecretBytes(MATERIAL[:16]))


def test_material_of_no_size_is_refused_here(kms, key):
    for size in (0, key_wrapping.MAX_MATERIAL + 1):
        with pytest.raises(ValueError, match="are not wrapped"):
            transfers.import_material(kms.as_("key-admin"), key, SecretBytes(bytes(size)))


def test_import_key_that_others_wrapped_to_serves_once(kms, key):
    admin = kms.as_("key-admin")
    towards = transfers.create_import_key(admin, NamespaceName.parse(PROD))
    wrapped = key_wrapping.Recipient(towards.public_key).wrap(SecretBytes(MATERIAL))
    assert transfers.import_wrapped(admin, key, towards.name, wrapped).version == 2
    with pytest.raises(CallNotFound):
        transfers.import_wrapped(admin, key, towards.name, wrapped)


def test_public_key_is_imported_as_such(kms, recipient):
    key = new_key(kms, "ASYMMETRIC_SIGN")
    made = transfers.import_public_key(kms.as_("key-admin"), key, recipient.public_key)
    version = kms.as_("key-admin").call("KeyService", "GetKeyVersion", {"name": str(made)})
    assert version["public_only"] is True


def test_copy_has_the_bytes_of_its_source(kms, key, recipient):
    admin, user, target = kms.as_("key-admin"), kms.as_("key-user"), new_key(kms)
    made = transfers.import_material(admin, key, SecretBytes(MATERIAL))
    copied = transfers.copy_key(admin, made, target, make_primary=True)
    assert (copied.key_name, copied.version) == (target, 2)
    exported = transfers.export_key(user, copied, recipient)
    assert recipient.unwrap(exported.wrapped_key).reveal() == MATERIAL


def test_medium_key_does_not_leave(kms, recipient):
    key = new_key(kms, level="MEDIUM")
    with pytest.raises(CallWrongState):
        transfers.export_key(
            kms.as_("key-user"), KeyVersionName(key.tenant, key.namespace, key.key, 1), recipient
        )
