"""Each check of a vector through a real server: what is stated holds, and whatever is falsified is found."""

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from desk import ROOT
from house import NOWHERE, House

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.errors import CallDenied, CallFailed, CallUnauthenticated, CallUnavailable
from kms.client.vectors.bench import Bench
from kms.client.vectors.case import (
    Case,
    CiphertextCase,
    Expect,
    MacCase,
    OaepCase,
    Parsed,
    PssCase,
    RawCase,
    Reason,
    WrappingCase,
)
from kms.client.vectors.checks import _encrypts, _makes
from kms.client.vectors.files import VectorFile, find_below
from kms.client.vectors.own_checks import _edited, _holds
from kms.client.vectors.running import run
from kms.client.vectors.tenant import Target, vector_tenant
from kms.crypto.aead import AeadKey
from kms.model.algorithms import ALGORITHMS
from protos.kms.v1 import crypto_pb2 as pb

KEY, NONCE = bytes(range(32)), bytes(12)
SHA256 = hashes.SHA256()
OAEP = padding.OAEP(padding.MGF1(SHA256), SHA256, b"label")
PSS = padding.PSS(padding.MGF1(SHA256), 32)


@pytest.fixture(scope="module")
def operator(house: House) -> Iterator[Api]:
    with open_channel(house.addresses["listen"], Path(house.made["operator_credentials"])) as channel:
        yield Api(channel)


def target(house: House) -> Target:
    return Target(house.addresses["listen"], house.addresses["enrolment_listen"])


@pytest.fixture(scope="module")
def bench(house: House, operator: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with vector_tenant(operator, target(house), "vectors-checks", tmp_path_factory.mktemp("who")) as tenant:
        yield tenant.set_up()


@pytest.fixture(scope="module")
def pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def cases(pair: rsa.RSAPrivateKey) -> dict[str, Case]:
    """A valid case of each kind, made by the libraries alone; those of this project from its vectors."""
    sealed = AESGCM(KEY).encrypt(NONCE, b"message", b"aad")
    pkcs8 = pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    spki = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    common: dict[str, Any] = {"case_id": "tcId 1", "expect": Expect.VALID}
    own = {file.title: file.parsed.cases for file in read_own()}
    first = {Path(title).stem: found[0] for title, found in own.items() if found}
    return first | {
        "raw": RawCase(
            **common, algorithm="AES_256_GCM", key=KEY, nonce=NONCE, aad=b"aad", message=b"message",
            ciphertext=sealed[:-16], tag=sealed[-16:],
        ),
        "oaep": OaepCase(
            **common, algorithm="RSA_OAEP_2048_SHA256", key=pkcs8, label=b"label", message=b"message",
            ciphertext=pair.public_key().encrypt(b"message", OAEP),
        ),
        "pss": PssCase(
            **common, algorithm="RSA_PSS_2048_SHA256", key=spki, message=b"message",
            signature=pair.sign(b"message", PSS, SHA256),
        ),
        "mac": MacCase(**common, algorithm="HMAC_SHA256", key=KEY, message=b"message",
            code=hmac.digest(KEY, b"message", "sha256"),
        ),
    }  # fmt: skip


def read_own() -> list[VectorFile]:
    return [found.read() for found in find_below([ROOT / "testvectors" / "kms"])]


def problems(bench: Bench, cases: Sequence[Case]) -> list[str]:
    file = VectorFile("made", Parsed(tuple(cases), {}))
    [report] = run([file], bench, lambda count: None)
    assert report.passed + len(report.failures) == len(cases)
    return [failure.problem for failure in report.failures]


KINDS = ("raw", "oaep", "pss", "mac", "ciphertext", "key_wrapping", "public_key")


@pytest.mark.parametrize("kind", KINDS)
def test_valid_case_passes(bench: Bench, cases: dict[str, Case], kind: str) -> None:
    assert problems(bench, [cases[kind]]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_valid_case_that_is_called_invalid_fails(bench: Bench, cases: dict[str, Case], kind: str) -> None:
    case = replace(cases[kind], expect=Expect.INVALID)
    if isinstance(case, CiphertextCase):
        case = replace(case, origin=cases[kind])
    assert problems(bench, [case]) == ["not refused"]


@dataclass(frozen=True)
class Falsified:
    """What is changed in a valid case, and what is found then."""

    kind: str
    change: Callable[[Any], Case]
    found: str


FALSIFIED = [
    Falsified("raw", lambda case: replace(case, message=b"other"), "another plaintext"),
    Falsified("raw", lambda case: replace(case, tag=bytes(16)), "refused with DECRYPTION_FAILED"),
    Falsified("oaep", lambda case: replace(case, message=b"other"), "another plaintext"),
    Falsified("oaep", lambda case: replace(case, label=b"other"), "refused with DECRYPTION_FAILED"),
    Falsified("oaep", lambda case: replace(case, ciphertext=b""), "refused with INVALID_FIELD"),
    Falsified("pss", lambda case: replace(case, message=b"other"), "refused with SIGNATURE_INVALID"),
    Falsified("mac", lambda case: replace(case, message=b"other"), "refused with MAC_INVALID"),
    Falsified("ciphertext", lambda case: replace(case, plaintext=b"other"), "the inner function encrypts"),
    Falsified("ciphertext", lambda case: replace(case, nonce=bytes(12)), "the inner function encrypts"),
    Falsified("key_wrapping", lambda case: replace(case, material=bytes(32)), "the inner function unwraps"),
    Falsified("key_wrapping", lambda case: replace(case, ephemeral=bytes(32)), "refused with DECRYPTION_"),
    Falsified("key_wrapping", lambda case: replace(case, algorithm="AES_128_GCM"), "refused with INVALID_"),
    Falsified("public_key", lambda case: replace(case, key=b"x"), "refused with INVALID_FIELD"),
]


@pytest.mark.parametrize("case", FALSIFIED, ids=lambda case: f"{case.kind}: {case.found}")
def test_falsified_case_is_found(bench: Bench, cases: dict[str, Case], case: Falsified) -> None:
    [problem] = problems(bench, [case.change(cases[case.kind])])
    assert problem.startswith(case.found)


def test_refusal_for_another_reason_proves_nothing(bench: Bench, cases: dict[str, Case]) -> None:
    refused = {"expect": Expect.INVALID, "refusal": "DECRYPTION_FAILED"}
    assert problems(bench, [replace(cases["public_key"], key=b"x", **refused)]) == [
        "refused with INVALID_FIELD, not DECRYPTION_FAILED"
    ]


def test_acceptable_case_may_be_refused_but_not_become_something_else(
    bench: Bench, cases: dict[str, Case]
) -> None:
    raw = replace(cases["raw"], expect=Expect.ACCEPTABLE)
    assert problems(bench, [raw, replace(raw, case_id="2", tag=bytes(16))]) == []
    assert problems(bench, [replace(raw, message=b"other")]) == ["another plaintext"]


def test_key_that_cannot_be_imported_fails_its_cases(bench: Bench, cases: dict[str, Case]) -> None:
    [problem] = problems(bench, [replace(cases["oaep"], key=b"no key")])
    assert problem.startswith("its key cannot be imported or used: ")


def test_service_that_encrypts_otherwise_is_found(cases: dict[str, Any]) -> None:
    inner = AeadKey(ALGORITHMS["AES_256_GCM"], SecretBytes(KEY))
    made = inner.raw_encrypt(b"message", b"aad")
    fields = {"nonce": made.nonce, "ciphertext": made.ciphertext, "tag": made.tag}
    assert _encrypts(inner, cases["raw"], pb.RawEncryptResponse(**fields)) == ""
    changed = pb.RawEncryptResponse(**(fields | {"tag": bytes(16)}))
    assert "otherwise" in _encrypts(inner, cases["raw"], changed)
    assert "refused" in _encrypts(inner, cases["raw"], CallFailed("no", reason="DENIED"))


def test_service_that_makes_another_code_is_found(cases: dict[str, Any]) -> None:
    mac = cases["mac"]
    invalid = replace(mac, expect=Expect.INVALID)
    right, other = pb.MacResponse(mac=mac.code), pb.MacResponse(mac=bytes(32))
    assert [_makes(mac, right), _makes(invalid, other)] == ["", ""]
    assert [_makes(mac, other), _makes(invalid, right)] == ["another code", "another code"]


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ("aa" * 40, "aa" * 39 + "ab", "cc" * 39 + "cd"),
        ("aa" * 40, "aa" * 20 + "02" + "aa" * 19, "cc" * 17 + "aa" * 3 + "02" + "cc" * 19),
        ("aa" * 40, "aa" * 40 + "00", "cc" * 40 + "00"),
        ("00" + "aa" * 39, "00" + "aa" * 3, "cc" * 4),
        ("00" + "aa" * 39, "aa" * 3, "cc" * 3),
        ("aa" * 40, "", ""),
    ],
    ids=["a bit", "the version", "appended", "cut off", "without a start", "nothing"],
)
def test_what_an_invalid_ciphertext_breaks_is_broken_at_another_place(
    before: str, after: str, moved: str
) -> None:
    assert _edited(b"\xcc" * 40, bytes.fromhex(before), bytes.fromhex(after)).hex() == moved


VALID_WRAPPINGS = [
    case
    for file in read_own()
    for case in file.parsed.cases
    if isinstance(case, WrappingCase) and case.expect is Expect.VALID
]


@pytest.mark.parametrize("case", VALID_WRAPPINGS, ids=lambda case: f"{case.case_id} {case.algorithm}")
def test_version_with_other_material_is_found(
    bench: Bench, pair: rsa.RSAPrivateKey, case: WrappingCase
) -> None:
    same = bench.imported(case.algorithm, case.material)
    assert _holds(bench, same, case) == ""
    other = bytes(len(case.material))
    if case.algorithm.startswith("RSA"):
        other = pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    version = bench.imported(case.algorithm, other)
    assert _holds(bench, version, case) == "the version works with other material"


def test_batches_hold_what_a_request_takes(bench: Bench, cases: dict[str, Any]) -> None:
    raw, message = cases["raw"], bytes(60_000)
    sealed = AESGCM(KEY).encrypt(NONCE, message, b"aad")
    large = replace(raw, message=message, ciphertext=sealed[:-16], tag=sealed[-16:])
    many = [replace(large, case_id=str(number)) for number in range(110)]
    many += [replace(raw, case_id=str(number)) for number in range(110, 1300)]
    assert problems(bench, many) == []


def test_neither_identity_may_do_what_the_other_does(bench: Bench) -> None:
    version = bench.imported("AES_256_GCM", KEY)
    with pytest.raises(CallDenied):
        swapped(bench).batch("Encrypt", version.key_name, [pb.EncryptRequest()])
    with pytest.raises(CallDenied):
        swapped(bench).new_key("AES_256_GCM")


def swapped(bench: Bench) -> Bench:
    return replace(bench, keeper=bench.verifier, verifier=bench.keeper)


def test_server_that_is_gone_ends_the_run(bench: Bench, cases: dict[str, Case]) -> None:
    with grpc.insecure_channel(NOWHERE) as channel:
        gone = replace(bench, keeper=Api(channel, 5), verifier=Api(channel, 5))
        with pytest.raises(CallUnavailable):
            run([VectorFile("made", Parsed((cases["raw"],), {}))], gone, lambda count: None)


def test_reports_keep_files_and_reasons_apart(bench: Bench, cases: dict[str, Any]) -> None:
    raw = cases["raw"]
    files = [
        VectorFile("good", Parsed((raw, replace(raw, case_id="tcId 2")), {Reason.IV_SIZE: 3})),
        VectorFile("bad", Parsed((replace(raw, message=b"other"),), {})),
        VectorFile("none", Parsed((), {Reason.ALGORITHM: 1})),
    ]
    told: list[int] = []
    good, bad, none = run(files, bench, told.append)
    assert (good.cases, good.passed, good.failures, good.skipped) == (5, 2, (), 3)
    assert (bad.cases, bad.passed, [item.case_id for item in bad.failures]) == (1, 0, ["tcId 1"])
    assert (none.cases, none.passed, none.skipped) == (1, 0, 1)
    assert sum(told) == 3


def test_retired_tenant_has_its_keys_destroyed_and_nobody_in_it(
    house: House, operator: Api, cases: dict[str, Any], tmp_path: Path
) -> None:
    with vector_tenant(operator, target(house), "vectors-retired", tmp_path) as tenant:
        bench = tenant.set_up()
        refused = replace(cases["public_key"], key=b"x")
        held = [cases["raw"], cases["pss"], cases["ciphertext"]]
        assert problems(bench, [*held, refused]) == ["refused with INVALID_FIELD"]
        # Of these the ciphertext needs two.
        assert tenant.retire() == 4
        for api in (bench.keeper, bench.verifier, tenant.admin):
            assert is_refused(api)


def test_tenant_is_retired_wherever_its_setting_up_ended(
    house: House, operator: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vector_tenant(operator, target(house), "vectors-bare", tmp_path / "bare") as tenant:
        assert (tenant.retire(), is_refused(tenant.admin)) == (0, True)
    monkeypatch.setattr("kms.client.vectors.tenant._allow", interrupted)
    with vector_tenant(operator, target(house), "vectors-half", tmp_path / "half") as tenant:
        with pytest.raises(KeyboardInterrupt):
            tenant.set_up()
        assert (tenant.retire(), is_refused(tenant.admin)) == (0, True)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def is_refused(api: Api) -> bool:
    with pytest.raises(CallUnauthenticated):
        api.call("NamespaceService", "ListNamespaces", {"parent": "tenants/vectors"})
    return True


def test_ciphertext_that_was_bound_elsewhere_is_refused_under_this_header(bench: Bench) -> None:
    file = read_own()[0]
    elsewhere = [case for case in file.parsed.cases if isinstance(case, CiphertextCase) and not case.origin]
    elsewhere = [case for case in elsewhere if case.expect is Expect.INVALID]
    assert len(elsewhere) == 11
    assert problems(bench, elsewhere) == []
