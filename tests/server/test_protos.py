"""The API's definition: generated code as checked in, and the rules of its style."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from protos.generate import ROOT, generate

SOURCES = sorted((ROOT / "protos").rglob("*.proto"))


def generated(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in sorted((root / "protos").rglob("*_pb2*"))
        if path.suffix in {".py", ".pyi"}
    }


def test_the_checked_in_code_is_what_the_sources_generate(tmp_path):
    generate(tmp_path)
    fresh, checked_in = generated(tmp_path), generated(ROOT)
    assert fresh.keys() == checked_in.keys()
    assert [path for path in fresh if fresh[path] != checked_in[path]] == []
    assert len(fresh) > 2 * len(SOURCES)


def test_generated_code_is_a_package_and_is_shipped():
    for folder in {path.parent for path in SOURCES}:
        while folder != ROOT:
            assert (folder / "__init__.py").exists()
            folder = folder.parent


@pytest.fixture
def buf(tmp_path):
    """Runs buf on a copy of our sources beside the files they import."""
    if shutil.which("npx") is None:
        pytest.skip("npx is not installed")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    for source in SOURCES:
        (tmp_path / source.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / source.relative_to(ROOT))
    installed = Path(sysconfig.get_path("purelib"))
    for name in ("google/api/field_behavior.proto", "google/rpc/status.proto"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(installed / name, tmp_path / name)

    def run(*arguments):
        return subprocess.run(
            ["npx", "--yes", "@bufbuild/buf", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.mark.node
@pytest.mark.slow
def test_buf_finds_nothing_against_the_style(buf):
    result = buf("lint")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


@pytest.mark.node
@pytest.mark.slow
def test_buf_would_format_nothing_otherwise(buf):
    result = buf("format", "--diff", "--exit-code", "--path", "protos")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
