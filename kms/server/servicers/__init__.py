"""One servicer for each service. A method converts, calls one function, and converts back."""

from typing import Protocol

import grpc


class Servicer(Protocol):
    """What an application needs of a servicer. `SERVICE` is its full name, such as `kms.v1.StatusService`."""

    @property
    def SERVICE(self) -> str: ...

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods with a server that has not started."""
        ...
