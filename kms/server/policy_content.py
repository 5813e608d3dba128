"""The content of policies: between messages and the JSON object of docs/policies.md.

What only the policy language can judge is passed on as it is, so that its errors name the exact place.
"""

from collections.abc import Mapping

from kms.errors import LimitExceeded
from kms.model.policy_json import MAX_POLICY_BYTES
from kms.server.json_messages import fill, to_object
from protos.kms.v1.kms_policy_pb2 import KmsPolicyContent
from protos.kms.v1.secret_policy_pb2 import SecretPolicyContent


def to_content(message: SecretPolicyContent | KmsPolicyContent) -> dict[str, object]:
    """The object that a message stands for. Raises `InvalidField` for a timeout with parts of a second.

    Raises `LimitExceeded` for a message of which the JSON, which is larger, would have too many bytes.
    """
    if message.ByteSize() > MAX_POLICY_BYTES:
        raise LimitExceeded(
            "rules", f"the policy has more than the {MAX_POLICY_BYTES} bytes that are allowed"
        )
    return to_object(message)


def content_message(content: Mapping[str, object]) -> SecretPolicyContent:
    """The message of a secret policy's valid object."""
    message = SecretPolicyContent()
    fill(message, content)
    return message


def kms_content_message(content: Mapping[str, object]) -> KmsPolicyContent:
    """The message of a KMS policy's valid object."""
    message = KmsPolicyContent()
    fill(message, content)
    return message
