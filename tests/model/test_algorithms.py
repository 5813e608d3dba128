"""The table of algorithms: whole, its defaults first, its names exact."""

import pytest

from kms.errors import InvalidField
from kms.model.algorithms import ALGORITHMS, Family, Purpose, find

DEFAULTS = {
    Purpose.ENCRYPT_DECRYPT: "AES_256_GCM",
    Purpose.RAW_ENCRYPT_DECRYPT: "AES_256_GCM",
    Purpose.ASYMMETRIC_DECRYPT: "RSA_OAEP_3072_SHA256",
    Purpose.ASYMMETRIC_SIGN: "RSA_PSS_3072_SHA256",
    Purpose.MAC: "HMAC_SHA256",
}
COUNTS = {
    Purpose.ENCRYPT_DECRYPT: 2,
    Purpose.RAW_ENCRYPT_DECRYPT: 2,
    Purpose.ASYMMETRIC_DECRYPT: 9,
    Purpose.ASYMMETRIC_SIGN: 9,
    Purpose.MAC: 1,
}


@pytest.mark.parametrize("purpose", Purpose)
def test_a_purpose_has_its_default_and_its_number_of_algorithms(purpose: Purpose) -> None:
    assert find("", purpose).name == DEFAULTS[purpose]
    fitting = [item for item in ALGORITHMS.values() if purpose in item.purposes]
    assert len(fitting) == COUNTS[purpose]
    assert all(find(item.name, purpose) is item for item in fitting)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("name", [*ALGORITHMS, "aes_256_gcm", "AES_192_GCM", "RSA_PKCS1_2048_SHA256", " "])
def test_an_algorithm_of_another_purpose_is_refused_naming_those_that_fit(
    name: str, purpose: Purpose
) -> None:
    if name in ALGORITHMS and purpose in ALGORITHMS[name].purposes:
        assert find(name, purpose).name == name
    else:
        with pytest.raises(InvalidField, match=DEFAULTS[purpose]) as caught:
            find(name, purpose, "key.algorithm")
        assert caught.value.field == "key.algorithm"


def test_names_say_what_the_algorithms_are() -> None:
    for name, item in ALGORITHMS.items():
        assert item.name == name
        assert item.counts_nonces == (item.family is Family.AES_GCM)
        assert item.is_asymmetric == name.startswith("RSA_")
        if item.is_asymmetric:
            assert name == f"{item.family}_{item.key_bits}_{item.hash_name.upper()}"
            assert item.key_bits in (2048, 3072, 4096)


def test_no_algorithm_has_pkcs1_v15() -> None:
    assert not [name for name in ALGORITHMS if "PKCS1" in name]
    assert {item.family for item in ALGORITHMS.values()} == set(Family)
