"""Blindfold: seal offline to a policy, open through a KMS that never sees the secret.

The specification is docs/spec/blindfold.md. Both halves of the protocol are here, so that one
specification and one set of vectors cover them; nothing here talks to a network.
"""

from blindfold.bundle import Bundle, Delegation, root_fingerprint
from blindfold.documents import KeyDocument, PolicyDocument
from blindfold.exponent import Binding, derive_exponent
from blindfold.inspection import Inspection, inspect
from blindfold.opening import BlindRequest, OpeningState, begin_open, finish_open, open_unfinished_stream
from blindfold.sealing import seal, seal_stream
from blindfold.secret import SecretBytes

__all__ = [
    "Binding",
    "BlindRequest",
    "Bundle",
    "Delegation",
    "Inspection",
    "KeyDocument",
    "OpeningState",
    "PolicyDocument",
    "SecretBytes",
    "begin_open",
    "derive_exponent",
    "finish_open",
    "inspect",
    "open_unfinished_stream",
    "root_fingerprint",
    "seal",
    "seal_stream",
]
