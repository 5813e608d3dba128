"""The key-value engine of the stand-in, in both versions."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vault.exchange import Refusal, Reply, Request, Routes

LEASE = 2764800


class KvV1:
    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        self.routes = Routes()
        self.routes.add("read", "(.+)", self._read)
        self.routes.add("update", "(.+)", self._write)
        self.routes.add("delete", "(.+)", self._delete)

    def _read(self, request: Request, path: str) -> Reply:
        if path not in self._found:
            raise Refusal(404)
        return Reply(self._found[path], lease_duration=LEASE)

    def _write(self, request: Request, path: str) -> Reply:
        if not request.body:
            raise Refusal(400, "missing data fields")
        self._found[path] = request.body
        return Reply()

    def _delete(self, request: Request, path: str) -> Reply:
        self._found.pop(path, None)
        return Reply()


@dataclass
class Version:
    data: dict[str, Any] | None
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    deleted: str = ""
    destroyed: bool = False


class KvV2:
    def __init__(self) -> None:
        self._found: dict[str, list[Version]] = {}
        self.routes = Routes()
        self.routes.add("read", "data/(.+)", self._read)
        self.routes.add("update", "data/(.+)", self._write)
        self.routes.add("delete", "data/(.+)", lambda request, path: self._delete(path, [-1]))
        self.routes.add("update", "delete/(.+)", lambda request, path: self._delete(path, _numbers(request)))
        self.routes.add("update", "destroy/(.+)", self._destroy)
        self.routes.add("read update", "config", lambda request: Reply())

    def _read(self, request: Request, path: str) -> Reply:
        versions = self._found.get(path, [])
        try:
            number = int(request.query.get("version", 0)) or len(versions)
        except ValueError:
            raise Refusal(400, "error converting input for field 'version'") from None
        if not 1 <= number <= len(versions):
            raise Refusal(404)
        version = versions[number - 1]
        metadata = {
            "created_time": version.made,
            "custom_metadata": None,
            "deletion_time": version.deleted,
            "destroyed": version.destroyed,
            "version": number,
        }
        if version.deleted or version.destroyed:
            raise Refusal(404, **Reply({"data": None, "metadata": metadata}).envelope())
        return Reply({"data": version.data, "metadata": metadata})

    def _write(self, request: Request, path: str) -> Reply:
        if not isinstance(request.body.get("data"), dict):
            raise Refusal(400, "no data provided")
        versions = self._found.setdefault(path, [])
        versions.append(Version(request.body["data"]))
        return Reply({"version": len(versions), "destroyed": False, "deletion_time": ""})

    def _delete(self, path: str, numbers: list[int]) -> Reply:
        versions = self._found.get(path, [])
        for number in numbers:
            versions[number - 1 if number > 0 else number].deleted = datetime.now(UTC).isoformat()
        return Reply()

    def _destroy(self, request: Request, path: str) -> Reply:
        for number in _numbers(request):
            self._found[path][number - 1].data = None
            self._found[path][number - 1].destroyed = True
        return Reply()


def _numbers(request: Request) -> list[int]:
    numbers = request.body.get("versions")
    if not isinstance(numbers, list) or not numbers:
        raise Refusal(400, "No version number provided")
    return [int(number) for number in numbers]
