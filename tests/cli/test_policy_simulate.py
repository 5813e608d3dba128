"""`simulate` of both kinds: drafts against what was recorded."""

from house import House

from cli.exit_codes import ExitCode

NOBODY = {"rules": [{"name": "nobody", "action": "DENY"}]}
EVERYBODY = {"rules": [{"name": "everybody", "action": "ALLOW"}]}
WEB = "spiffe://kms.internal/tenant/acme/ns/prod/sa/web"


def test_draft_of_a_secret_policy_says_who_would_not_open(house: House) -> None:
    policy = house.policy("simulated")
    sealed = house.file("simulated.sealed", house.seal(policy))
    assert house.blindfold("open", sealed, who="prod-web").code == 0
    draft = house.file("nobody.json", NOBODY)
    arguments = ("secret-policy", "simulate", "prod/simulated", draft)
    found = house.must("kms", *arguments)
    [change] = found["changes"]
    assert (change["caller"], change["before"], change["after"]) == (WEB, "ALLOW", "DENY")
    assert (found["request_count"], change["request_count"]) == (1, 1)
    ended = house.kms(*arguments, "--events", 10_000)
    assert ended.out.decode().splitlines()[0].split("  ")[0] == "CALLER"
    assert "0 of 1 requests are decided as before (" in ended.words
    assert house.must("kms", "secret-policy", "get", "prod/simulated")["revision"] == 1


def test_draft_of_a_kms_policy_says_what_would_change(house: House) -> None:
    user = house.enrol("prod/simulant", "--role", "key-user")
    house.must("kms", "policy", "create", "prod/simulated", house.file("everybody.json", EVERYBODY))
    house.must("kms", "key", "create", "prod/simulated", "--policy", "prod/simulated")
    assert house.kms("encrypt", "prod/simulated", "-", stdin=b"secret", who=user).code == 0
    asked = ("kms", "policy", "simulate", "prod/simulated")
    [change] = house.must(*asked, house.file("nobody.json", NOBODY))["changes"]
    assert (change["operation"], change["after"]) == ("ENCRYPT", "DENY")
    same = house.must(*asked, house.file("everybody.json", EVERYBODY))
    assert (same["changes"], same["unchanged_count"]) == ([], 1)


def test_draft_that_is_wrong_is_refused(house: House) -> None:
    draft = house.file("wrong.json", {"rules": [{"name": "a", "action": "PERMIT"}]})
    ended = house.kms("secret-policy", "simulate", "prod/web-tls", draft)
    assert (ended.code, "rules[0].action" in ended.words) == (ExitCode.USAGE, True)
