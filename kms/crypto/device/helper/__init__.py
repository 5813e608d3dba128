"""What runs in a helper process. Nothing else imports it, and nothing else imports `pkcs11`."""
