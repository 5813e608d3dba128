"""The test that a Blindfold key passes before anything is sealed to it: seal, blind, evaluate, open."""

import secrets

import blindfold
from blindfold import Binding, KeyDocument, PolicyDocument
from blindfold.documents import document_exponent
from blindfold.errors import BlindfoldError
from blindfold.evaluation import Evaluator
from blindfold.private_key import PrivateKey
from kms.errors import EvaluationFailed


def test_key(key: PrivateKey, document: KeyDocument) -> None:
    """Seal a random secret to the document and open it with the key. Raises `EvaluationFailed`."""
    secret = secrets.token_bytes(32)
    policy = PolicyDocument(
        tenant=document.tenant,
        namespace="self-test",
        name="self-test",
        uid=secrets.token_bytes(16),
        revision=1,
        nonce=secrets.token_bytes(16),
        binding=Binding.REVISION,
        rule_combining="FIRST_MATCH",
        rules=(),
    )
    try:
        sealed = blindfold.seal(secret, document, policy)
        request, state = blindfold.begin_open(sealed, document)
        answer = Evaluator(key).evaluate(request.element, document_exponent(document, policy))
        opened = blindfold.finish_open(state, answer).reveal()
    except BlindfoldError:
        opened = b""
    if opened != secret:
        raise EvaluationFailed("a new Blindfold key failed its test and was discarded")
