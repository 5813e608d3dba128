"""Names as people write them, and options as the API wants them."""

import click
import pytest

from cli.errors import UsageError
from cli.online.names import identity_parent, resolve, resolve_identity, resolve_spiffe_id, tenant_of
from cli.online.parameters import pair, span, time
from kms.model.names import BlindfoldKeyName, NamespaceName, ResourceName, SecretPolicyName, TenantName

POLICY = SecretPolicyName("acme", "prod", "web")
NAMES = [
    (SecretPolicyName, "prod/web", POLICY),
    (SecretPolicyName, "tenants/acme/namespaces/prod/secretPolicies/web", POLICY),
    (SecretPolicyName, "tenants/web", SecretPolicyName("acme", "tenants", "web")),
    (NamespaceName, "prod", NamespaceName("acme", "prod")),
    (NamespaceName, "tenants/globex/namespaces/prod", NamespaceName("globex", "prod")),
    (BlindfoldKeyName, "3", BlindfoldKeyName("acme", 3)),
    (TenantName, "globex", TenantName("globex")),
    (TenantName, "tenants/globex", TenantName("globex")),
]


@pytest.mark.parametrize(("kind", "text", "expected"), NAMES)
def test_short_and_whole_names(kind: type[ResourceName], text: str, expected: ResourceName) -> None:
    assert resolve(kind, text, "acme") == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (SecretPolicyName, "web"),
        (SecretPolicyName, "a/b/c"),
        (SecretPolicyName, ""),
        (SecretPolicyName, "Prod/web"),
        (SecretPolicyName, "tenants/acme/namespaces/prod"),
        (BlindfoldKeyName, "0"),
        (BlindfoldKeyName, "one"),
        (TenantName, ""),
    ],
)
def test_what_is_no_name_is_refused_with_both_forms(kind: type[ResourceName], text: str) -> None:
    with pytest.raises(UsageError, match="is not a name of the form"):
        resolve(kind, text, "acme")


def test_short_name_needs_a_tenant() -> None:
    with pytest.raises(UsageError, match="tenant is not known") as caught:
        resolve(SecretPolicyName, "prod/web", "")
    assert "--tenant" in caught.value.hint
    assert resolve(SecretPolicyName, str(POLICY), "") == POLICY


@pytest.mark.parametrize(
    ("text", "whole", "parent"),
    [
        ("prod/web", "tenants/acme/namespaces/prod/identities/web", "tenants/acme/namespaces/prod"),
        ("tenants/acme/sites/prague", "tenants/acme/sites/prague", "tenants/acme"),
        (
            "prod/prague/cam",
            "tenants/acme/namespaces/prod/sites/prague/identities/cam",
            "tenants/acme/namespaces/prod",
        ),
        ("operators/root", "operators/root", ""),
    ],
)
def test_identities_and_their_parents(text: str, whole: str, parent: str) -> None:
    name = resolve_identity(text, "acme")
    assert (str(name), identity_parent(name)) == (whole, parent)


def test_spiffe_ids_are_written_as_such_or_as_names() -> None:
    spiffe_id = "spiffe://kms.internal/tenant/acme/ns/prod/sa/web"
    assert resolve_spiffe_id(spiffe_id, "", "other") == spiffe_id
    assert resolve_spiffe_id("prod/web", "acme", "kms.internal") == spiffe_id


@pytest.mark.parametrize(
    ("spiffe_id", "tenant"),
    [("spiffe://d/tenant/acme/ns/prod/sa/web", "acme"), ("spiffe://d/operator/root", "")],
)
def test_tenant_is_that_of_the_credentials(spiffe_id: str, tenant: str) -> None:
    assert tenant_of(spiffe_id) == tenant


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", "90s"), ("10m", "600s"), ("24h", "86400s"), ("30d", "2592000s")]
)
def test_spans(text: str, seconds: str) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "10 m", "1w", "٣m"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        span(text)


@pytest.mark.parametrize("text", ["", "2030-01-01", "2030-01-01T00:00:00", "now"])
def test_time_needs_its_zone(text: str) -> None:
    assert time("2030-01-01T00:00:00Z") == "2030-01-01T00:00:00Z"
    with pytest.raises(click.BadParameter):
        time(text)


def test_pairs() -> None:
    assert (pair("a=b=c"), pair("a=")) == (("a", "b=c"), ("a", ""))
    for text in ("a", "=b", ""):
        with pytest.raises(click.BadParameter):
            pair(text)
