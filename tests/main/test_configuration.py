"""The server's configuration file: written, read back, and refused when it says anything unknown."""

from dataclasses import replace
from pathlib import Path

import pytest

from kms.errors import ConfigError
from kms.main.configuration import FILE, Configuration
from kms.model.secret_management_access import Allowances


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(
        directory=tmp_path,
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="[::1]:7444",
        checkpoint_file=tmp_path / 'odd "name"' / "checkpoint.json",
        dns_names=("localhost", "kms.test"),
        addresses=("127.0.0.1", "::1"),
    )


def test_written_file_reads_back_the_same(configuration: Configuration) -> None:
    (configuration.directory / FILE).write_text(configuration.to_toml())
    assert Configuration.load(configuration.directory) == configuration


def test_credentials_in_clear_and_http_are_allowed_by_their_own_settings(
    configuration: Configuration,
) -> None:
    assert configuration.allowances == Allowances()
    for setting, allowed in (
        ("allow_clear_secrets", Allowances(clear_secrets=True)),
        ("allow_plain_http", Allowances(plain_http=True)),
    ):
        text = configuration.to_toml().replace(f"{setting} = false", f"{setting} = true")
        (configuration.directory / FILE).write_text(text)
        assert Configuration.load(configuration.directory).allowances == allowed


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run `kms init` first"):
        Configuration.load(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("unknown = 1", "unknown settings: unknown"),
        ("listen = 7", "listen is a string"),
        ('dns_names = "localhost"', "dns_names is a list of strings"),
        ("= broken", "cannot be read"),
        ('rate_limits = ["USE 0/second"]', "rate_limits"),
        ('rate_limits = "USE 1/second"', "rate_limits is a list of strings"),
        ('root_of_trust = "hope"', "root_of_trust is one of"),
        ('listen = "localhost"', "host:port"),
        ('listen = "localhost:99999"', "host:port"),
        ('addresses = ["localhost"]', "dns_names or addresses"),
        ('proxy_listen = "nowhere"', "proxy_listen has the form host:port"),
        ('proxy_listen = "127.0.0.1:0"', "needs proxy_identities"),
        ('proxy_identities = ["edge"]', "proxy_identities or proxy_addresses"),
        ('proxy_addresses = ["10.0.0.1/8"]', "proxy_identities or proxy_addresses"),
        ('monitoring_listen = "80"', "monitoring_listen has the form host:port"),
        ('root_of_trust = "pkcs11"', "pkcs11 needs device_module"),
        ('device_token = "kms"', "go together"),
        ('allow_clear_secrets = "yes"', "allow_clear_secrets is true or false"),
        ("allow_plain_http = 1", "allow_plain_http is true or false"),
        ('dns_names = ["Not A Name"]', "dns_names or addresses"),
    ],
)
def test_bad_setting_is_named(configuration: Configuration, line: str, message: str) -> None:
    name = line.partition(" ")[0]
    kept = [text for text in configuration.to_toml().splitlines() if text.partition(" ")[0] != name]
    (configuration.directory / FILE).write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=message):
        Configuration.load(configuration.directory)


def test_missing_setting_is_named(configuration: Configuration) -> None:
    kept = [text for text in configuration.to_toml().splitlines() if not text.startswith("trust_domain")]
    (configuration.directory / FILE).write_text("\n".join(kept))
    with pytest.raises(ConfigError, match="missing settings: trust_domain"):
        Configuration.load(configuration.directory)


def test_a_server_needs_a_name(configuration: Configuration) -> None:
    with pytest.raises(ConfigError, match="a server needs"):
        replace(configuration, dns_names=(), addresses=())
