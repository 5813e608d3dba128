"""Only https, only to hosts that the operator allows."""

from pathlib import Path

import pytest

from kms.errors import ConfigError
from kms.external.endpoint import Endpoint, trusting


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.test/",
        "https://other.test/",
        "https://hooks.test.other.test/",
        "https://hooks.test@other.test/",
        "https://user@hooks.test/",
        "https://hooks.test:0/",
        "https://hooks.test:x/",
        "https://hooks.test/#x",
        "https:///path",
        "hooks.test",
        "",
    ],
)
def test_only_https_to_an_allowed_host_is_an_endpoint(url: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint.parse(url, ["hooks.test"], "the hook")


def test_endpoint_has_the_parts_of_its_url() -> None:
    assert Endpoint.parse("https://hooks.test:8443/a?b=c", ["hooks.test"], "the hook") == Endpoint(
        "hooks.test", 8443, "/a?b=c"
    )
    assert Endpoint.parse("https://hooks.test", ["hooks.test"], "the hook") == Endpoint(
        "hooks.test", 443, "/"
    )


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_file_without_certificates_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        trusting(str(file))
