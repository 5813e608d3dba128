"""Calls before they are made: requests as bytes, answers as values, checksums in both."""

import dataclasses
import inspect

import google_crc32c
import pytest

from blindfold.secret import SecretBytes
from kms.client import operations as op
from kms.client.calls import OPERATIONS, of_many, of_one, to_message
from kms.client.client import AsyncOperations, Operations
from kms.client.errors import CallDamaged, CallDenied, CallFailed
from kms.errors import Denied, InvalidField
from kms.server.status import to_status
from protos.kms.v1 import crypto_batch_pb2 as batch
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1.crypto_service_pb2 import StreamRequest

KEY = "tenants/acme/namespaces/prod/keys/orders"
SECRET = b"correct horse battery staple"
KINDS = sorted(OPERATIONS, key=lambda kind: kind.__name__)
# Fields that a call and its batch say once for all.
SAID_ELSEWHERE = {"name"}


def method_name(kind):
    return OPERATIONS[kind].method.name


def example(kind):
    """A request of a kind, its bytes all the same secret."""
    values = {"byte_count": 32, "destination": ""}
    names = [field.name for field in dataclasses.fields(kind)]
    if "digest" in names:
        names.remove("digest")
    given = {
        name: values.get(name, SECRET) for name in names if not name.startswith(("allow", "with", "form"))
    }
    return kind(**given)


def test_every_operation_of_the_service_is_a_kind_of_request():
    streamed = {field.message_type for field in StreamRequest.DESCRIPTOR.fields}
    assert {operation.method.input_type for operation in OPERATIONS.values()} == streamed
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("kind", KINDS, ids=method_name)
def test_every_operation_is_a_method_with_the_parameters_of_its_request(kind):
    operation = OPERATIONS[kind].method
    name = next(
        field.name for field in StreamRequest.DESCRIPTOR.fields if field.message_type is operation.input_type
    )
    for methods in (Operations, AsyncOperations):
        parameters = [*inspect.signature(getattr(methods, name)).parameters.values()][2:]
        assert parameters == [*inspect.signature(kind).parameters.values()]
        assert inspect.getdoc(getattr(methods, name)) == inspect.getdoc(kind)


@pytest.mark.parametrize("kind", KINDS, ids=method_name)
def test_every_field_of_the_interface_can_be_given_and_is_read(kind):
    operation = OPERATIONS[kind]
    fields = {name for name in operation.method.input_type.fields_by_name if not name.endswith("_crc32c")}
    assert {theirs for _, theirs in operation.sent} == fields - SAID_ELSEWHERE
    answered = {name for name in operation.method.output_type.fields_by_name if not name.endswith("_crc32c")}
    assert {name for name, _ in operation.answered} == answered


@pytest.mark.parametrize("kind", KINDS, ids=method_name)
def test_what_the_interface_redacts_is_in_no_repr(kind):
    operation = OPERATIONS[kind]
    redacted = {field.name for field in operation.method.input_type.fields if field.GetOptions().debug_redact}
    hidden = {field.name for field in dataclasses.fields(kind) if not field.repr}
    assert redacted == hidden
    for field in operation.method.output_type.fields:
        if field.GetOptions().debug_redact:
            reader = dict(operation.answered)[field.name]
            assert isinstance(reader(SECRET), SecretBytes)


@pytest.mark.parametrize("kind", KINDS, ids=method_name)
def test_everything_that_can_have_a_checksum_is_sent_with_one(kind):
    message = to_message(example(kind), KEY)
    given = [name for name in OPERATIONS[kind].sent_checksums if name != "digest"]
    for name in given:
        assert getattr(message, f"{name}_crc32c") == google_crc32c.value(getattr(message, name))
    plain = to_message(example(kind), KEY, checksums=False)
    assert not any(plain.HasField(f"{name}_crc32c") for name in given)


def test_a_secret_can_be_sent_as_one():
    request = op.Encrypt(SecretBytes(SECRET), aad=b"a")
    assert to_message(request, KEY).plaintext == SECRET
    assert SECRET.decode() not in repr(request)


@pytest.mark.parametrize("kind", [op.Sign, op.Verify])
@pytest.mark.parametrize("data", [{}, {"message": b"m", "digest": b"d"}])
def test_a_message_or_its_digest_is_signed(kind, data):
    rest = {"signature": b"s"} if kind is op.Verify else {}
    with pytest.raises(InvalidField):
        kind(**data, **rest)


def answer(**fields):
    crc32c = google_crc32c.value(SECRET)
    return pb.DecryptResponse(**{"name": KEY, "plaintext": SECRET, "plaintext_crc32c": crc32c} | fields)


def test_an_answer_becomes_a_value_with_its_secret_hidden():
    decrypted = of_one(KEY, op.Decrypt(b"c")).read(answer())
    assert (decrypted.name, decrypted.plaintext.reveal()) == (KEY, SECRET)
    assert SECRET.decode() not in repr(decrypted)


@pytest.mark.parametrize(
    "damaged", [{"plaintext_crc32c": None}, {"plaintext_crc32c": 1}, {"plaintext": b"x"}]
)
def test_an_answer_without_the_right_checksum_is_damaged(damaged):
    call = of_one(KEY, op.Decrypt(b"c"))
    with pytest.raises(CallDamaged, match="plaintext") as caught:
        call.read(answer(**damaged))
    assert "Send the request again" in caught.value.hint
    trusting = of_one(KEY, op.Decrypt(b"c"), checksums=False)
    assert trusting.read(answer(**damaged)).name == KEY


def test_an_algorithm_has_its_own_name():
    public = pb.GetPublicKeyResponse(name=KEY, algorithm=9, public_key=b"")
    public.public_key_crc32c = 0
    read = of_one(KEY, op.GetPublicKey()).read(public)
    assert read.algorithm.startswith("RSA_")


def test_a_batch_has_a_result_or_an_error_for_each():
    denied = batch.DecryptResult(error=to_status(Denied(), "r"))
    results = [batch.DecryptResult(response=answer()), denied]
    call = of_many(KEY, [op.Decrypt(b"1"), op.Decrypt(b"2")])
    good, bad = call.read(batch.BatchDecryptResponse(results=results))
    assert good.plaintext.reveal() == SECRET
    assert isinstance(bad, CallDenied)
    with pytest.raises(CallFailed, match="1 answers to 2"):
        call.read(batch.BatchDecryptResponse(results=results[:1]))


def test_damage_in_one_item_is_damage_of_the_batch():
    results = [batch.DecryptResult(response=item) for item in (answer(), answer(plaintext=b""))]
    with pytest.raises(CallDamaged):
        of_many(KEY, [op.Decrypt(b"1")] * 2).read(batch.BatchDecryptResponse(results=results))


def test_a_batch_on_a_version_names_it_in_its_items():
    call = of_many(f"{KEY}/versions/3", [op.MacVerify(b"m", b"c")])
    sent = batch.BatchMacVerifyRequest.FromString(call.raw)
    assert (sent.name, sent.requests[0].name) == (KEY, f"{KEY}/versions/3")
    assert batch.BatchEncryptRequest.FromString(of_many(KEY, [op.Encrypt(b"")]).raw).requests[0].name == ""


def test_a_batch_has_one_destination():
    moves = [op.ReEncrypt(b"c", destination=f"{KEY}-2")] * 2
    sent = batch.BatchReEncryptRequest.FromString(of_many(KEY, moves).raw)
    assert (sent.destination, sent.requests[1].destination) == (f"{KEY}-2", "")
    with pytest.raises(InvalidField, match="destination"):
        of_many(KEY, [*moves, op.ReEncrypt(b"c")])


@pytest.mark.parametrize("requests", [[], [op.Encrypt(b""), op.Decrypt(b"")]])
def test_a_batch_is_of_one_kind(requests):
    with pytest.raises(InvalidField, match="one kind"):
        of_many(KEY, requests)
