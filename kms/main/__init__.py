"""The composition root: builds a KMS by hand from its parts."""
