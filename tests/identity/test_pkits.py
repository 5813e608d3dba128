"""NIST's Public Key Interoperability Test Suite in this verifier (docs/spec/identity.md, "Paths").

Every end entity of the suite is here: judged as the suite does, refused although the suite allows it, or
passed because what is wrong with it is not looked at.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import pytest
from cryptography import x509
from cryptography.x509.verification import ExtensionPolicy, VerificationError

from kms.identity.trust import TrustBundle, verified_chain

# The suite's certificates are for 2010 to 2030.
NOW = datetime(2026, 3, 1, tzinfo=UTC)
# The longest path of the suite has 6.
DEPTH = 6
ANCHOR = "TrustAnchorRootCertificate"

# Valid by the suite, and refused here.
STRICTER = {
    "names compare byte by byte": (
        r"ValidNameChaining(WhitespaceTest[34]|CapitalizationTest5)EE|ValidRolloverfromPrintableString.*"
        "|ValidUTF8StringCaseInsensitiveMatch.*"
    ),
    "constraints of directory names and URIs": r"Valid(DN|URI|DNandRFC822)nameConstraints.*",
    "critical policy extensions": (
        r"Valid(SelfIssued)?(PolicyMapping|inhibitPolicyMapping|requireExplicitPolicy).*"
        r"|Valid(SelfIssued)?inhibitAnyPolicy.*|inhibitAnyPolicyTest3EE"
    ),
    "self-issued authorities below a path length": r"ValidSelfIssuedpathLenConstraint.*",
    "DSA": r"ValidDSA.*",
    "dates before 2050 as GeneralizedTime": r"ValidGeneralizedTimenotBeforeDateTest4EE",
    "basicConstraints that are not critical": r"ValidbasicConstraintsNotCriticalTest4EE",
}
# Passed, whatever the suite says of it.
UNSEEN = {
    "revocation lists": (
        r"Invalid(?!Basic).*(CRL|cRL|Revoked|distributionPoint|onlyContains|onlySomeReasons).*"
        r"|InvalidBasicSelfIssued(CRLSigningKeyTest7|NewWithOldTest5|OldWithNewTest2)EE"
        r"|InvalidLongSerialNumberTest18EE"
    ),
    "certificate policies": (
        r"AllCertificates.*|AnyPolicy.*|DifferentPolicies.*|OverlappingPolicies.*|UserNotice.*|CPSPointer.*"
    ),
}
# What breaks the paths that are refused as the suite says, in the verifier's words.
REASONS = {
    "InvalidCASignatureTest2EE": "signature does not match",
    "InvalidEESignatureTest3EE": "signature does not match",
    "InvalidCAnotBeforeDateTest1EE": "not valid at validation time",
    "InvalidEEnotBeforeDateTest2EE": "not valid at validation time",
    "InvalidCAnotAfterDateTest5EE": "not valid at validation time",
    "InvalidEEnotAfterDateTest6EE": "not valid at validation time",
    "InvalidNameChainingTest1EE": "candidates exhausted",
    "InvalidMissingbasicConstraintsTest1EE": "CA certificate has no basicConstraints",
    "InvalidcAFalseTest2EE": "cA must be asserted",
    "InvalidcAFalseTest3EE": "cA must be asserted",
    "InvalidpathLenConstraintTest9EE": "path length constraint violated",
    "InvalidpathLenConstraintTest10EE": "path length constraint violated",
    "InvalidpathLenConstraintTest11EE": "path length constraint violated",
    "InvalidpathLenConstraintTest12EE": "path length constraint violated",
    "InvalidSelfIssuedpathLenConstraintTest16EE": "path length constraint violated",
    "InvalidkeyUsageCriticalkeyCertSignFalseTest1EE": "keyCertSign must be asserted",
    "InvalidkeyUsageNotCriticalkeyCertSignFalseTest2EE": "keyCertSign must be asserted",
    "InvalidDNSnameConstraintsTest31EE": "no permitted name constraints matched",
    "InvalidDNSnameConstraintsTest33EE": "excluded name constraint matched",
    "InvalidRFC822nameConstraintsTest22EE": "no permitted name constraints matched",
    "InvalidUnknownCriticalCertificateExtensionTest2EE": "unaccounted-for critical extensions",
}

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:The parsed certificate")


def certificates() -> Iterator[tuple[str, bytes]]:
    folder = files("cryptography_vectors").joinpath("x509", "PKITS_data", "certs")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        yield entry.name.removesuffix(".crt"), entry.read_bytes()


ENTITIES = [name for name, _ in certificates() if name.endswith("EE")]


@cache
def suite() -> dict[str, x509.Certificate | None]:
    """None stands for a certificate that cannot even be read."""
    return {name: load(der) for name, der in certificates()}


def load(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None


@cache
def bundle() -> TrustBundle:
    """The suite's anchor, and every authority below it."""
    below = [
        certificate
        for name, certificate in suite().items()
        if certificate is not None and name != ANCHOR and not name.endswith("EE")
    ]
    anchor = suite()[ANCHOR]
    assert anchor is not None
    return TrustBundle((anchor,), tuple(below))


def validate(name: str) -> None:
    """Raises `VerificationError`. The suite's leaves have no names of ours: none are asked for."""
    leaf = suite()[name]
    if leaf is None:
        raise VerificationError("cannot be read")
    verified_chain(bundle(), leaf, NOW, DEPTH, ExtensionPolicy.permit_all())


def cause(table: dict[str, str], name: str) -> str | None:
    found = [reason for reason, pattern in table.items() if re.fullmatch(pattern, name)]
    assert len(found) < 2
    return found[0] if found else None


def is_valid(name: str) -> bool:
    return name.startswith("Valid") and cause(STRICTER, name) is None


@pytest.mark.parametrize("name", [name for name in ENTITIES if is_valid(name)])
def test_valid_path_is_accepted(name: str) -> None:
    validate(name)


@pytest.mark.parametrize(
    "name", [name for name in ENTITIES if name.startswith("Invalid") and cause(UNSEEN, name) is None]
)
def test_invalid_path_is_refused(name: str) -> None:
    with pytest.raises(VerificationError, match=REASONS.get(name, "validation failed")):
        validate(name)


@pytest.mark.parametrize("name", [name for name in ENTITIES if cause(STRICTER, name)])
def test_the_verifier_is_stricter_than_the_suite(name: str) -> None:
    with pytest.raises(VerificationError):
        validate(name)


@pytest.mark.parametrize("name", [name for name in ENTITIES if cause(UNSEEN, name)])
def test_what_the_verifier_does_not_look_at_passes(name: str) -> None:
    validate(name)


def test_every_path_of_the_suite_is_judged() -> None:
    judged = [name for name in ENTITIES if name.startswith(("Valid", "Invalid"))]
    others = [name for name in ENTITIES if name not in judged]
    assert len(ENTITIES) == 223
    assert all(cause(STRICTER, name) or cause(UNSEEN, name) for name in others)
    assert REASONS.keys() <= set(judged)
