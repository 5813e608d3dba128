"""Every error this package raises. Each says in `hint` what a person can do next."""

from typing import ClassVar


class BlindfoldError(Exception):
    """Base of all errors of this package."""

    hint: ClassVar[str] = ""


class Corrupt(BlindfoldError):
    """Bytes that do not have the form the specification demands. The text speaks of public bytes only."""

    hint = "The file was damaged or changed on its way; fetch it again from where it was sealed."


class NotSealed(Corrupt):
    """The input is not a sealed secret at all."""

    hint = "Give the file that `blindfold seal` wrote, or its `blindfold:v1:` text."


class Unsupported(BlindfoldError):
    """Well-formed as far as it can be read, but of a format, suite or lock this version does not know."""

    hint = "It was made by a newer version; upgrade blindfold-kms."


class DocumentInvalid(BlindfoldError):
    """A key document, policy document or bundle breaks the rules of its form."""

    hint = "Fetch the document again from the KMS."


class DocumentUntrusted(BlindfoldError):
    """A bundle whose signature, delegation or root key is not the pinned one."""

    hint = "Compare the documents root fingerprint with the one `kms init` printed, on another channel."


class DocumentExpired(BlindfoldError):
    """A bundle or delegation outside its validity."""

    hint = "Fetch the document again, or allow expired documents explicitly with --allow-expired."


class DocumentStale(BlindfoldError):
    """A document older than one this sealer has already used."""

    hint = "Someone serves you an old document; fetch the current one."


class PolicyReplaced(BlindfoldError):
    """A policy document of another policy than the one this sealer knows under its name."""

    hint = (
        "Unless the KMS was restored from a backup, this does not happen. Ask whoever runs it, on another "
        "channel; if the policy really was made anew, seal with another memory (--state)."
    )


class DocumentMismatch(BlindfoldError):
    """Documents, or a document and a sealed secret, that do not belong together."""

    hint = (
        "Check tenant, policy name and key version: somebody may have put another document in place of one."
    )


class KeyUnacceptable(BlindfoldError):
    """A modulus that no honest tenant key has: wrong size, wrong residue, or a small factor."""

    hint = "Do not use this key; tell whoever runs the KMS."


class ElementOutOfRange(BlindfoldError):
    """A group element of the wrong length, outside [2, n-2], or not coprime to n."""

    hint = "The value was damaged or made up; build the request again."


class InputInvalid(BlindfoldError):
    """An argument outside the limits of the specification."""


class WrongAnswer(BlindfoldError):
    """x^e' != C: the KMS answered with a value that is not the root. An alarm, not a retry."""

    hint = "The KMS computed a wrong answer. Do not retry; raise an alarm with its operator."


class OpenFailed(BlindfoldError):
    """The sealed secret does not verify. One flat error, whatever the step."""

    hint = "The file was changed after it was sealed, or it is cut off; fetch it again."

    def __init__(self) -> None:
        super().__init__("the sealed secret does not verify")


class NameMismatch(BlindfoldError):
    """The authenticated public name is not the expected one."""

    hint = "Another secret was put in this one's place; check which file you opened."


class StateConsumed(BlindfoldError):
    """An opening state was used a second time."""

    hint = "Call begin_open again; a blinding factor serves one opening only."


class EvaluationFault(BlindfoldError):
    """A check of the private operation failed. No answer was made; the key must stop until it is tested."""

    hint = "The hardware or the stored key is faulty; run the key's self-test before it serves again."

    def __init__(self) -> None:
        super().__init__("the private operation failed its own check")


class GenerationFailed(BlindfoldError):
    """Key generation ended without a key."""

    hint = "Look for the worker processes' messages on standard error, and for a lack of memory; then retry."
