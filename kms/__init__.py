"""A key management service that opens sealed secrets blindly."""

import os
import sys

# grpcio reads the setting once, when it is first imported, and offers no other way to refuse TLS 1.2. The
# suite needs a pre-shared key, which no connection has; the suites of TLS 1.3 are not affected.
TLS_1_3_ONLY = "ECDHE-PSK-CHACHA20-POLY1305"
GRPC_CAME_FIRST = "grpc" in sys.modules and os.environ.get("GRPC_SSL_CIPHER_SUITES") != TLS_1_3_ONLY

os.environ["GRPC_SSL_CIPHER_SUITES"] = TLS_1_3_ONLY
