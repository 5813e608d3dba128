"""A served KMS, watched: its metrics page, and an alert on its way to a webhook."""

from dataclasses import replace
from pathlib import Path

import pytest

from kms.errors import ConfigError
from kms.main.configuration import Configuration
from kms.main.watching import _webhook


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    key = tmp_path / "webhook.key"
    key.touch(0o600)
    key.write_bytes(bytes(32))
    return Configuration(
        directory=tmp_path,
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=tmp_path / "checkpoint.json",
        alert_webhook="https://hooks.test/in",
        alert_webhook_hosts=("hooks.test",),
        alert_webhook_key_file=str(key),
    )


def test_a_webhook_is_built_from_the_configuration(configuration: Configuration) -> None:
    assert _webhook(configuration, lambda outcome: None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alert_webhook_hosts": ()}, "not among the allowed"),
        ({"alert_webhook_key_file": ""}, "needs alert_webhook_key_file"),
        ({"alert_webhook_key_file": "/does/not/exist"}, "/does/not/exist cannot be read"),
        ({"alert_webhook_ca_file": "/does/not/exist"}, "cannot be read"),
        ({"alert_webhook": "http://hooks.test/"}, "https URL"),
    ],
)
def test_what_cannot_work_is_said_at_start(
    configuration: Configuration, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _webhook(replace(configuration, **changes), lambda outcome: None)  # type: ignore[arg-type]


def test_a_key_that_others_may_read_signs_no_notice(configuration: Configuration) -> None:
    Path(configuration.alert_webhook_key_file).chmod(0o640)
    with pytest.raises(ConfigError, match="readable by others"):
        _webhook(configuration, lambda outcome: None)


@pytest.mark.parametrize("name", ["alert_denials", "alert_denials_seconds"])
def test_a_rate_of_nothing_is_refused(configuration: Configuration, name: str) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        replace(configuration, **{name: 0})  # type: ignore[arg-type]
