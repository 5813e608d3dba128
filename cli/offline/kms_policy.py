"""The commands of `kms policy` that ask no server."""

from cli.offline import policy_schema, policy_test
from cli.policy_kind import KMS

schema = policy_schema.schema(KMS)
test = policy_test.test(KMS)
