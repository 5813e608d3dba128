"""A token of an issuer enrols once: known by what was signed, and by its id."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from identity.token_workshop import claims, jwk, jwks
from identity.token_workshop import token as signed
from services.conftest import START, Kms
from services.test_identities import token
from services.test_jwt_enrolment import CLUSTER, SETTINGS, WEB, account, fresh, trust, use

from kms.client.credentials import generate_key_pair
from kms.errors import Unauthenticated
from kms.identity.grant import Grant
from kms.model.names import JwtIssuerName
from kms.model.records import UsedTokenRecord
from kms.services.spent_tokens import KEPT_LONGER


def test_token_enrols_once(kms: Kms) -> None:
    trust(kms)
    made = fresh(kms)
    use(kms, made)
    with pytest.raises(Unauthenticated, match="used before"):
        use(kms, made)
    assert use(kms, fresh(kms, jti="another"))


@pytest.mark.parametrize(
    ("headers", "changed"),
    [
        ({"kid": "again"}, {}),
        ({}, {"exp": int(START.timestamp()) + 5400}),
        ({}, {"nonce": "n"}),
    ],
)
def test_token_that_the_issuer_signs_again_enrols_once_if_it_has_an_id(
    kms: Kms, headers: dict[str, str], changed: dict[str, Any]
) -> None:
    """The same `jti` under another header, with another end or other claims is the same token."""
    keys = jwks(jwk("EdDSA"), jwk("EdDSA", "again")).decode()
    trust(kms, settings=replace(SETTINGS, jwks=keys))
    use(kms, fresh(kms, jti="one"))
    with pytest.raises(Unauthenticated, match="used before"):
        use(kms, signed(claims(kms.now, jti="one", **changed), "EdDSA", headers))
    assert use(kms, signed(claims(kms.now, jti="two", **changed), "EdDSA", headers))


def test_token_without_an_id_enrols_once_and_another_one_too(kms: Kms) -> None:
    trust(kms)
    made = fresh(kms, jti=None)
    use(kms, made)
    with pytest.raises(Unauthenticated, match="used before"):
        use(kms, made)
    assert use(kms, fresh(kms, jti=None, nonce="n"))


def test_ids_of_two_issuers_do_not_meet(kms: Kms) -> None:
    other = JwtIssuerName("acme", "other")
    trust(kms)
    trust(kms, other)
    use(kms, fresh(kms, jti="one"))
    assert use(kms, fresh(kms, **account("api"), jti="one"), other)


def test_two_enrolments_race_for_one_token_and_one_wins(kms: Kms) -> None:
    trust(kms)
    made = fresh(kms)

    async def race() -> list[Any]:
        both = [
            kms.parts.jwt_enrolment.enrol(
                CLUSTER, made, generate_key_pair().csr, address="", request_id="", now=kms.now
            )
            for _ in range(2)
        ]
        return await asyncio.gather(*both, return_exceptions=True)

    outcomes = kms.run(race())
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CertificateBundle", "Unauthenticated"]


def test_used_tokens_are_forgotten_once_they_have_expired_and_not_before(kms: Kms) -> None:
    trust(kms)
    use(kms)
    token(kms, Grant(WEB))
    count = lambda: len(list(kms.parts.repository.all(UsedTokenRecord)))  # noqa: E731
    kms.pass_time(timedelta(minutes=59))
    assert kms.run(kms.parts.spent_tokens.forget(kms.now)) == 1
    assert count() == 2
    kms.pass_time(timedelta(minutes=1))
    assert kms.run(kms.parts.spent_tokens.forget(kms.now)) == 0
    kms.pass_time(KEPT_LONGER)
    assert kms.run(kms.parts.spent_tokens.forget(kms.now)) == 2
    assert kms.last_event()["action"] == "Kms.ForgetTokens"
    assert count() == kms.run(kms.parts.spent_tokens.forget(kms.now)) == 0


def test_token_that_ends_within_a_second_is_not_used_again_in_what_is_left_of_it(kms: Kms) -> None:
    trust(kms)
    made = fresh(kms, exp=kms.now.timestamp() + 60.9)
    use(kms, made)
    kms.pass_time(timedelta(seconds=60.5))
    kms.run(kms.parts.spent_tokens.forget(kms.now))
    with pytest.raises(Unauthenticated, match="used before"):
        use(kms, made)


def test_token_is_not_used_again_by_who_asked_in_time_and_waited(kms: Kms) -> None:
    """As for the issuer's keys: the call has the time at which it began."""
    trust(kms)
    made = fresh(kms)
    use(kms, made)
    kms.run(kms.parts.spent_tokens.forget(kms.now + timedelta(hours=1, seconds=20)))
    with pytest.raises(Unauthenticated, match="used before"):
        use(kms, made)
