"""The commands of `kms secret-policy` that ask no server."""

from cli.offline import policy_schema, policy_test
from cli.policy_kind import SECRET

schema = policy_schema.schema(SECRET)
test = policy_test.test(SECRET)
