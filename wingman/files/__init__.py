"""Secrets and the identity as files: written whole, kept fresh, and whoever reads them told of changes."""
