"""The methods of a listener, each behind the call path."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from kms.server.interceptors.call_path import CallPath, Handler


class Methods(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Servicers are added to it as to a server; a server takes it as one handler of all methods.

    They are not registered with the server one by one: it would wait for the next call of each registered
    method apart, and every call would cost more the more methods there are.
    """

    def __init__(self, path: CallPath) -> None:
        self._path = path
        self._added: list[Any] = []
        self._handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """As that of a server."""
        self._added.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Nothing: the generic handlers of the service have the same methods."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of the method, None if there is none."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        for added in self._added:
            handler = added.service(handler_call_details)
            if handler is not None:
                self._handlers[method] = made = self._path.before(method, handler)
                return made
        return None
