"""Files rendered from secrets."""

from pathlib import Path

import pytest

from wingman.errors import TemplateFailed
from wingman.files.templates import MAX_TEMPLATE, render

SECRETS = {"password": b"p&ssw\xc3\xb6rd", "key": b"\xff\x00"}


def rendered(tmp_path: Path, template: str) -> bytes:
    source = tmp_path / "template"
    source.write_text(template, encoding="utf-8")
    return render(source, SECRETS, "spiffe://example/tenant/acme/ns/prod/sa/web")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("password={{ secrets.password }}\n", b"password=p&ssw\xc3\xb6rd\n"),
        ('{{ secrets["password"] | length }}', b"8"),
        ("{{ secrets_base64.key }}", b"/wA="),
        ("{% for name in secrets | sort %}{{ name }} {% endfor %}", b"key password "),
        ("{{ spiffe_id }}", b"spiffe://example/tenant/acme/ns/prod/sa/web"),
    ],
)
def test_template_uses_secrets_by_name(tmp_path: Path, template: str, expected: bytes) -> None:
    assert rendered(tmp_path, template) == expected


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("\n{{ secrets.pasword }}", "line 2: UndefinedError"),
        ("{{ secrets.key }}", "line 1: UnicodeDecodeError"),
        ("{{ secrets[secrets.password] }}", "line 1: UndefinedError"),
        ("\n\n{{ secrets.password + 1 }}", "line 3: TypeError"),
        ("{% if %}", "line 1: Expected an expression, got 'end of statement block'"),
        ("{{ ''.__class__.__mro__ }}", "line 1: SecurityError"),
        ("{% include '/etc/passwd' %}", "line 1: TypeError"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_without_the_secret(
    tmp_path: Path, template: str, problem: str
) -> None:
    with pytest.raises(TemplateFailed) as caught:
        rendered(tmp_path, template)
    assert caught.value.message == f"{tmp_path / 'template'}: {problem}"
    assert "ssw" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\xff", "not UTF-8"), (b"x" * (MAX_TEMPLATE + 1), "larger than")]
)
def test_file_that_is_no_template_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "template").write_bytes(content)
    with pytest.raises(TemplateFailed, match=problem):
        render(tmp_path / "template", SECRETS, "")


def test_missing_template_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemplateFailed, match="No such file"):
        render(tmp_path / "none", SECRETS, "")
