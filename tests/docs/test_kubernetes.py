"""docs/kubernetes: manifests that Kubernetes takes, and configurations that a Wingman takes."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from wingman.configuration import parse_configuration

MANIFESTS = sorted((Path(__file__).parents[2] / "docs/kubernetes").glob("*.yaml"))
VERSION = kubernetes_validate.latest_version()


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def pod(path: Path) -> dict[str, Any]:
    [found] = [document["spec"]["template"]["spec"] for document in documents(path) if "spec" in document]
    return dict(found)


def containers(path: Path) -> list[dict[str, Any]]:
    return [*pod(path)["initContainers"], *pod(path)["containers"]]


def test_there_are_a_sidecar_and_an_init_container() -> None:
    assert [path.stem for path in MANIFESTS] == ["init-container", "sidecar"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_document_is_one_of_kubernetes(path: Path) -> None:
    for document in documents(path):
        assert VERSION.startswith(kubernetes_validate.validate(document, VERSION, strict=True))


def test_what_is_not_of_kubernetes_would_be_seen() -> None:
    broken = documents(MANIFESTS[0])[-1]
    broken["spec"]["template"]["spec"]["initContainer"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_configuration_is_one_of_a_wingman(path: Path) -> None:
    [config] = [document for document in documents(path) if document["kind"] == "ConfigMap"]
    found = parse_configuration(yaml.safe_load(config["data"]["wingman.yaml"]))
    assert found.enrolment is not None
    assert found.files is not None
    mounts = [mount["mountPath"] for mount in containers(path)[0]["volumeMounts"]]
    for place in (found.files.directory, found.credentials, found.socket, found.enrolment.jwt_file):
        assert any(str(Path(place).parent).startswith(mount) for mount in mounts)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_secrets_lie_in_memory_and_containers_have_no_privileges(path: Path) -> None:
    for volume in pod(path)["volumes"]:
        assert volume.get("emptyDir", {"medium": "Memory"})["medium"] == "Memory"
    for container in containers(path):
        locked = container["securityContext"]
        assert locked["readOnlyRootFilesystem"]
        assert not locked["allowPrivilegeEscalation"]
        assert locked["capabilities"] == {"drop": ["ALL"]}
