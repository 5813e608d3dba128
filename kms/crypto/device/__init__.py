"""Keys inside a PKCS 11 token, reached through processes of our own, which alone load the token's module."""
