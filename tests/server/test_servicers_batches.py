"""The use of keys in batches and streams over the wire: each item is decided and answered by itself."""

import base64
import itertools
import threading

import google_crc32c
import grpc
import pytest
from server.kms_harness import PROD, running_kms

from kms.client.channel import open_channel
from kms.client.errors import (
    CallDenied,
    CallExhausted,
    CallInvalid,
    CallUnauthenticated,
    from_rpc_error,
    from_status,
)
from kms.errors import RateLimited
from kms.model.rate_limit import OperationClass
from kms.server.servicers.cryptography import SERVED_AT_ONCE, STREAMS_OF_A_CALLER
from protos.kms.v1 import crypto_batch_pb2 as batch
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1 import crypto_service_pb2 as service
from protos.kms.v1.crypto_service_pb2_grpc import CryptoServiceStub

METHODS = service.DESCRIPTOR.services_by_name["CryptoService"].methods_by_name
SINGLE = sorted(name for name in METHODS if not name.startswith("Batch") and name != "Stream")
ALLOW_ORDERS = {
    "name": "orders",
    "action": "ACTION_ALLOW",
    "aad_matcher": {"equals": [""], "starts_with": [base64.b64encode(b"orders/").decode()]},
}


class Limiter:
    """Lets so many units pass, and notes them."""

    def __init__(self):
        self.units = []
        self.left = 10**9

    def take(self, who, operation_class, units):
        if operation_class is OperationClass.USE:
            self.units.append(units)
            self.left -= units
            if self.left < 0:
                raise RateLimited(0.5)


@pytest.fixture(scope="module")
def keys(kms):
    kms.allow_keys(ALLOW_ORDERS)
    return {
        "aes": kms.make_key("aes"),
        "raw": kms.make_key("raw", "RAW_ENCRYPT_DECRYPT"),
        "mac": kms.make_key("mac", "MAC"),
        "rsa": kms.make_key("rsa", "ASYMMETRIC_SIGN", algorithm="KEY_ALGORITHM_RSA_PSS_2048_SHA256"),
        "oaep": kms.make_key("oaep", "ASYMMETRIC_DECRYPT", algorithm="KEY_ALGORITHM_RSA_OAEP_2048_SHA256"),
    }


@pytest.fixture
def stub(kms):
    with open_channel(kms.target, kms.credentials("key-user")) as channel:
        yield CryptoServiceStub(channel)


def failure_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def reasons(results):
    """The reason of each item that failed, "" of the others."""
    return ["" if result.HasField("response") else from_status(result.error).reason for result in results]


def encrypted(stub, key, *plaintexts, aad=b""):
    requests = [pb.EncryptRequest(plaintext=text, additional_authenticated_data=aad) for text in plaintexts]
    answer = stub.BatchEncrypt(batch.BatchEncryptRequest(name=key, requests=requests))
    return [result.response.ciphertext for result in answer.results]


def test_every_method_has_a_batch_form_and_a_place_in_streams():
    for name in SINGLE:
        assert f"Batch{name}" in METHODS
        fields = METHODS[f"Batch{name}"].input_type.fields_by_name
        assert fields["requests"].message_type is METHODS[name].input_type
    streamed = {field.message_type for field in service.StreamRequest.DESCRIPTOR.fields}
    assert streamed == {METHODS[name].input_type for name in SINGLE}


def test_batch_has_a_result_for_each_item_in_order(stub, keys):
    texts = [str(number).encode() for number in range(1000)]
    ciphertexts = encrypted(stub, keys["aes"], *texts)
    requests = [pb.DecryptRequest(ciphertext=ciphertext) for ciphertext in ciphertexts]
    opened = stub.BatchDecrypt(batch.BatchDecryptRequest(name=keys["aes"], requests=requests))
    assert [result.response.plaintext for result in opened.results] == texts
    assert {result.response.name for result in opened.results} == {f"{keys['aes']}/versions/1"}


def test_good_and_bad_items_are_answered_side_by_side(stub, keys):
    good = encrypted(stub, keys["aes"], b"a", aad=b"orders/1")[0]
    aad = {"additional_authenticated_data": b"orders/1"}
    items = [
        (pb.DecryptRequest(ciphertext=good, **aad), ""),
        (pb.DecryptRequest(ciphertext=good[:-1] + bytes([good[-1] ^ 1]), **aad), "DECRYPTION_FAILED"),
        (pb.DecryptRequest(ciphertext=good, additional_authenticated_data=b"orders/2"), "DECRYPTION_FAILED"),
        (pb.DecryptRequest(ciphertext=good, additional_authenticated_data=b"others/1"), "DENIED"),
        (pb.DecryptRequest(ciphertext=good, ciphertext_crc32c=1, **aad), "CHECKSUM_MISMATCH"),
        (pb.DecryptRequest(ciphertext=good, name=keys["mac"], **aad), "INVALID_FIELD"),
        (pb.DecryptRequest(ciphertext=good, name=keys["aes"], **aad), ""),
        (pb.DecryptRequest(ciphertext=b"", **aad), "INVALID_FIELD"),
    ]
    request = batch.BatchDecryptRequest(name=keys["aes"], requests=[item for item, _ in items])
    assert reasons(stub.BatchDecrypt(request).results) == [reason for _, reason in items]


def test_batch_of_bad_items_alone_is_answered(stub, keys):
    requests = [pb.EncryptRequest(plaintext=b"a", plaintext_crc32c=1)] * 2
    answer = stub.BatchEncrypt(batch.BatchEncryptRequest(name=keys["aes"], requests=requests))
    assert reasons(answer.results) == ["CHECKSUM_MISMATCH"] * 2


@pytest.mark.parametrize("count", [0, 1001])
def test_batch_has_a_limit(stub, keys, count):
    requests = [pb.EncryptRequest(plaintext=b"a")] * count
    failure = failure_of(
        lambda: stub.BatchEncrypt(batch.BatchEncryptRequest(name=keys["aes"], requests=requests))
    )
    assert isinstance(failure, CallInvalid)
    assert failure.violations[0][0] == "requests"


def test_batch_is_of_one_key_that_the_caller_may_use(kms, stub, keys):
    for name, kind in (
        (f"{keys['mac']}/versions/1", CallInvalid),
        ("", CallInvalid),
        (f"{PROD}/keys/missing", CallDenied),
    ):
        request = batch.BatchMacRequest(name=name, requests=[pb.MacRequest(message=b"m")])
        assert isinstance(failure_of(lambda request=request: stub.BatchMac(request)), kind)
    with pytest.raises(CallDenied):
        kms.as_("web").call("CryptoService", "BatchMac", {"name": keys["mac"], "requests": [{}]})


def test_items_choose_versions_of_the_key(kms, stub, keys):
    key = kms.make_key("chosen", "MAC")
    kms.as_("key-admin").call("KeyService", "RotateKey", {"name": key})
    names = ["", f"{key}/versions/1", f"{key}/versions/2", f"{key}/versions/3", f"{keys['mac']}/versions/1"]
    requests = [pb.MacRequest(name=name, message=b"m") for name in names]
    results = stub.BatchMac(batch.BatchMacRequest(name=key, requests=requests)).results
    assert [result.response.name for result in results[:3]] == [names[2], names[1], names[2]]
    assert reasons(results[3:]) == ["WRONG_STATE", "INVALID_FIELD"]


def test_destination_is_the_batchs(kms, stub, keys):
    other = kms.make_key("moved-to")
    ciphertext = encrypted(stub, keys["aes"], b"a")[0]
    requests = [
        pb.ReEncryptRequest(ciphertext=ciphertext),
        pb.ReEncryptRequest(ciphertext=ciphertext, destination=other),
        pb.ReEncryptRequest(ciphertext=b"\x01"),
    ]
    request = batch.BatchReEncryptRequest(name=keys["aes"], requests=requests, destination=other)
    results = stub.BatchReEncrypt(request).results
    assert results[0].response.name == f"{other}/versions/1"
    assert reasons(results) == ["", "INVALID_FIELD", "INVALID_FIELD"]


def test_other_operations_in_batches(stub, keys):
    signed = stub.BatchSign(
        batch.BatchSignRequest(name=keys["rsa"], requests=[pb.SignRequest(message=b"m")] * 2)
    )
    verify = [
        pb.VerifyRequest(message=text, signature=result.response.signature)
        for result, text in zip(signed.results, (b"m", b"other"), strict=True)
    ]
    verified = stub.BatchVerify(batch.BatchVerifyRequest(name=keys["rsa"], requests=verify))
    assert reasons(verified.results) == ["", "SIGNATURE_INVALID"]
    sizes = [pb.GenerateRandomRequest(byte_count=size) for size in (16, 0, 32)]
    drawn = stub.BatchGenerateRandom(batch.BatchGenerateRandomRequest(name=PROD, requests=sizes))
    assert [len(result.response.data) for result in drawn.results] == [16, 0, 32]
    assert reasons(drawn.results) == ["", "LIMIT_EXCEEDED", ""]
    data_keys = [pb.GenerateDataKeyRequest(with_plaintext=shown) for shown in (True, False)]
    made = stub.BatchGenerateDataKey(batch.BatchGenerateDataKeyRequest(name=keys["aes"], requests=data_keys))
    assert [len(result.response.plaintext) for result in made.results] == [32, 0]
    public = [pb.GetPublicKeyRequest(format=form) for form in (0, 1, 2, 3, 4)]
    shown = stub.BatchGetPublicKey(batch.BatchGetPublicKeyRequest(name=keys["rsa"], requests=public))
    assert reasons(shown.results) == ["", "", "", "", "INVALID_FIELD"]


def test_items_bring_their_own_checksums(stub, keys):
    crc = google_crc32c.value(b"a")
    requests = [pb.EncryptRequest(plaintext=b"a", plaintext_crc32c=crc), pb.EncryptRequest(plaintext=b"a")]
    with_crc, without = stub.BatchEncrypt(
        batch.BatchEncryptRequest(name=keys["aes"], requests=requests)
    ).results
    assert with_crc.response.ciphertext_crc32c == google_crc32c.value(with_crc.response.ciphertext)
    assert not without.response.HasField("ciphertext_crc32c")


def test_batch_leaves_one_event(kms, stub, keys):
    encrypted(stub, keys["aes"], b"a")
    before = len(kms.events())
    encrypted(stub, keys["aes"], b"a", b"b", b"c")
    (event,) = kms.events()[before:]
    assert (event["action"], event["details"]["items"]) == ("Encrypt", "3")


def test_stream_answers_any_operation_in_order(stub, keys):
    requests = [
        service.StreamRequest(encrypt=pb.EncryptRequest(name=keys["aes"], plaintext=b"a")),
        service.StreamRequest(sign=pb.SignRequest(name=keys["rsa"], message=b"m")),
        service.StreamRequest(mac=pb.MacRequest(name=keys["mac"], message=b"m")),
        service.StreamRequest(mac=pb.MacRequest(name=keys["aes"], message=b"m")),
        service.StreamRequest(encrypt=pb.EncryptRequest(name="nonsense")),
        service.StreamRequest(),
        service.StreamRequest(generate_random=pb.GenerateRandomRequest(name=PROD, byte_count=8)),
    ]
    answers = list(stub.Stream(iter(requests)))
    kinds = [answer.WhichOneof("response") for answer in answers]
    assert kinds == ["encrypt", "sign", "mac", "error", "error", "error", "generate_random"]
    failed = [from_status(answer.error).reason for answer in answers if answer.HasField("error")]
    assert failed == ["WRONG_STATE", "INVALID_FIELD", "INVALID_FIELD"]


def test_stream_answers_while_it_is_asked(stub, keys):
    def requests():
        for number in itertools.count():
            yield service.StreamRequest(mac=pb.MacRequest(name=keys["mac"], message=str(number).encode()))
            answered.acquire()

    answered = threading.Semaphore(0)
    call = stub.Stream(requests(), timeout=20)
    macs = set()
    for answer, _ in zip(call, range(20), strict=False):
        macs.add(answer.mac.mac)
        answered.release()
    call.cancel()
    answered.release()
    assert len(macs) == 20


def test_stream_serves_more_than_it_takes_at_once(stub, keys):
    texts = [str(number).encode() for number in range(3 * SERVED_AT_ONCE)]
    requests = (
        service.StreamRequest(encrypt=pb.EncryptRequest(name=keys["aes"], plaintext=text)) for text in texts
    )
    sealed = [answer.encrypt.ciphertext for answer in stub.Stream(requests)]
    opened = stub.Stream(
        service.StreamRequest(decrypt=pb.DecryptRequest(name=keys["aes"], ciphertext=text)) for text in sealed
    )
    assert [answer.decrypt.plaintext for answer in opened] == texts


def test_streams_of_a_caller_are_limited(stub, keys):
    stop = threading.Event()

    def requests():
        yield service.StreamRequest(mac=pb.MacRequest(name=keys["mac"], message=b"m"))
        stop.wait(20)

    calls = [stub.Stream(requests(), timeout=20) for _ in range(STREAMS_OF_A_CALLER)]
    assert [next(call).WhichOneof("response") for call in calls] == ["mac"] * STREAMS_OF_A_CALLER
    failure = failure_of(lambda: next(stub.Stream(requests(), timeout=20)))
    assert isinstance(failure, CallExhausted)
    assert failure.retry_after is not None
    stop.set()
    assert [list(call) for call in calls] == [[]] * STREAMS_OF_A_CALLER
    assert next(stub.Stream(requests(), timeout=20)).WhichOneof("response") == "mac"


@pytest.fixture
def limited(tmp_path):
    """A KMS with a limiter, and a caller of it."""
    limiter = Limiter()
    with running_kms(tmp_path, limiter) as kms:
        kms.allow_keys()
        with open_channel(kms.target, kms.credentials("key-user")) as channel:
            yield kms, limiter, CryptoServiceStub(channel)


def test_units_are_taken_for_each_item_and_message(limited):
    kms, limiter, stub = limited
    key = kms.make_key("limited")
    encrypted(stub, key, *[b"a"] * 7)
    message = service.StreamRequest(encrypt=pb.EncryptRequest(name=key, plaintext=b"a"))
    assert len(list(stub.Stream(iter([message] * 3)))) == 3
    assert limiter.units == [7, 1, 1, 1, 1]


def test_stream_ends_when_its_caller_calls_too_often_after_what_was_before(limited):
    kms, limiter, stub = limited
    message = service.StreamRequest(encrypt=pb.EncryptRequest(name=kms.make_key("limited"), plaintext=b"a"))
    limiter.left = 3
    call, answers = stub.Stream(iter([message] * 4)), []
    failure = failure_of(lambda: answers.extend(call))
    assert [answer.WhichOneof("response") for answer in answers] == ["encrypt"] * 2
    assert (type(failure), failure.retry_after) == (CallExhausted, 0.5)


def test_stream_ends_when_its_caller_is_revoked(limited):
    kms, _, stub = limited
    message = service.StreamRequest(generate_random=pb.GenerateRandomRequest(name=PROD, byte_count=1))
    answered = threading.Event()

    def requests():
        yield message
        answered.wait(20)
        yield message

    call = stub.Stream(requests(), timeout=20)
    assert next(call).HasField("generate_random")
    kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": f"{PROD}/identities/key-user"})
    answered.set()
    assert isinstance(failure_of(lambda: next(call)), CallUnauthenticated)
