"""Before anything else: grpcio reads its TLS setting when it is first imported, and `kms` makes it."""

import kms  # noqa: F401
