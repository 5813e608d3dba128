"""From the claims of a verified token to an identity: by exact rules, and nobody else."""

from dataclasses import replace
from typing import Any

import pytest
from token_workshop import claims

from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.admission import Admission, Admitted
from kms.identity.extension import Attributes

CLUSTER = Admission(
    subjects=("system:serviceaccount:prod:*",),
    claims={"/kubernetes.io/namespace": "prod"},
    namespace="/kubernetes.io/namespace",
    identity="/kubernetes.io/serviceaccount/name",
    labels={"from": "cluster", "sa": "/kubernetes.io/serviceaccount/name"},
    roles=frozenset({"key-user@prod"}),
)
FIXED = replace(CLUSTER, subjects=("ci",), claims={}, namespace="dev", identity="ci", labels={})


def test_claims_of_a_service_account_become_a_grant() -> None:
    attributes = Attributes({"from": "cluster", "sa": "web"}, frozenset({"key-user@prod"}))
    assert CLUSTER.admit(claims()) == Admitted("prod", "web", attributes)


def test_words_are_granted_whatever_the_token_says() -> None:
    admitted = FIXED.admit(claims(sub="ci"))
    assert (admitted.namespace, admitted.identity) == ("dev", "ci")


@pytest.mark.parametrize(
    ("subjects", "subject", "admitted"),
    [
        (("a",), "a", True),
        (("a", "b"), "b", True),
        (("a",), "ab", False),
        (("a",), "A", False),
        (("a:*",), "a:", True),
        (("a:*",), "a:b:c", True),
        (("a:*",), "a", False),
        (("a:*",), "xa:b", False),
        (("*",), "whoever", True),
        (("a.c",), "abc", False),
        (("a",), None, False),
        (("a",), 1, False),
        (("a",), ["a"], False),
    ],
)
def test_subjects_are_admitted_to_the_letter_or_by_their_beginning(
    subjects: tuple[str, ...], subject: Any, admitted: bool
) -> None:
    rule = replace(FIXED, subjects=subjects)
    if admitted:
        assert rule.admit(claims(sub=subject))
    else:
        with pytest.raises(Unauthenticated, match="subject is not admitted"):
            rule.admit(claims(sub=subject))


def kubernetes(**changed: Any) -> dict[str, Any]:
    return claims(**{"kubernetes.io": {**claims()["kubernetes.io"], **changed}})


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (kubernetes(namespace="dev"), "/kubernetes.io/namespace is not"),
        (kubernetes(namespace=["prod"]), "/kubernetes.io/namespace is not"),
        (claims(**{"kubernetes.io": None}), "/kubernetes.io/namespace is not"),
        (claims(**{"kubernetes.io": "prod"}), "/kubernetes.io/namespace is not"),
        (kubernetes(serviceaccount={}), "no text at /kubernetes.io/serviceaccount/name"),
        (kubernetes(serviceaccount={"name": 1}), "no text at"),
        (kubernetes(serviceaccount={"name": "web.1"}), "gives no identity"),
        (kubernetes(serviceaccount={"name": "Web"}), "gives no identity"),
        (kubernetes(serviceaccount={"name": "web/../x"}), "gives no identity"),
        (kubernetes(serviceaccount={"name": ""}), "gives no identity"),
    ],
)
def test_other_claims_are_refused_by_name(made: dict[str, Any], words: str) -> None:
    with pytest.raises(Unauthenticated, match=words):
        CLUSTER.admit(made)


def test_label_that_is_none_is_refused() -> None:
    rule = replace(CLUSTER, labels={"sub": "/sub"})
    with pytest.raises(Unauthenticated, match="gives no labels"):
        rule.admit(claims())


def test_the_administrators_namespace_is_never_given() -> None:
    with pytest.raises(InvalidField, match="administrator"):
        replace(FIXED, namespace="system")
    rule = replace(CLUSTER, claims={})
    with pytest.raises(Unauthenticated, match="namespace system"):
        rule.admit(kubernetes(namespace="system"))


def test_pointers_reach_names_with_slashes_and_tildes() -> None:
    rule = replace(FIXED, identity="/a~1b/~0c/~01")
    assert rule.admit(claims(sub="ci", **{"a/b": {"~c": {"~1": "web"}}})).identity == "web"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"subjects": ()}, InvalidField),
        ({"subjects": ("",)}, InvalidField),
        ({"subjects": ("a*b",)}, InvalidField),
        ({"subjects": ("**",)}, InvalidField),
        ({"subjects": ("x" * 257,)}, InvalidField),
        ({"subjects": tuple(map(str, range(65)))}, LimitExceeded),
        ({"claims": {"sub": "x"}}, InvalidField),
        ({"claims": {"/": "x"}}, InvalidField),
        ({"claims": {"/a~2": "x"}}, InvalidField),
        ({"claims": {"/a": ""}}, InvalidField),
        ({"claims": {f"/{n}": "x" for n in range(17)}}, LimitExceeded),
        ({"namespace": ""}, InvalidField),
        ({"namespace": "Prod"}, InvalidField),
        ({"identity": "/"}, InvalidField),
        ({"identity": "/" + "x" * 256}, InvalidField),
        ({"labels": {"bad key": "x"}}, InvalidField),
        ({"labels": {"key": "bad value"}}, InvalidField),
        ({"labels": {"key": "/a~"}}, InvalidField),
        ({"roles": frozenset({"Admin"})}, InvalidField),
    ],
    ids=str,
)
def test_rule_that_says_nothing_exact_is_refused(changed: dict[str, Any], error: type[InvalidField]) -> None:
    with pytest.raises(error):
        replace(CLUSTER, **changed)
