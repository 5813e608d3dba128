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


class FileNotWritten(KmsError):
    """A file of secrets could not be written; the one before is there still."""

    kind = Kind.UNAVAILABLE
    reason = "FILE_NOT_WRITTEN"
    hint = "Make room on that file system, and see that Wingman's user may write there."


class TemplateFailed(KmsError):
    """A template cannot be read or rendered."""

    kind = Kind.INVALID
    reason = "TEMPLATE_FAILED"
    hint = 'See docs/wingman.md, "Files", for what a template may use.'


class ReaderNotTold(KmsError):
    """Files have changed, and the command or signal that tells of it has failed. It is tried again."""

    kind = Kind.UNAVAILABLE
    reason = "READER_NOT_TOLD"
    hint = "Run the command of on_change by hand, or see who should have had the signal."
