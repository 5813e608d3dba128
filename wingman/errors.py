"""Wingman's own refusals. What the KMS or a vault refuses, and what is wrong with a request, has its own."""

from kms.errors import Kind, KmsError


class NotServedHere(KmsError):
    """Wingman itself knows that it can never open this: another tenant's, or of a suite that it lacks."""

    kind = Kind.NOT_FOUND
    reason = "NOT_SERVED_HERE"
    hint = "Check which secret this is, and that this Wingman has an identity of the same tenant."


class NotReady(KmsError):
    """Wingman has no identity yet, or has lost it."""

    kind = Kind.UNAVAILABLE
    reason = "NOT_READY"
    hint = "See GET /status, and Wingman's log."
