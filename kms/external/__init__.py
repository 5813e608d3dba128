"""What the KMS connects to. It knows of no part of the server; it is given bytes to send."""
