"""The program `kms`: run the key management service, and manage what it keeps."""

import click

from cli.identity_groups import identity, identity_authority, jwt_issuer, trusted_authority
from cli.import_group import import_group
from cli.operator_group import operator_group
from cli.program import Entry, LazyGroup, Program, run

tenant = LazyGroup(
    "tenant",
    {
        "create": Entry("cli.online.tenant:create", "Make a tenant."),
        "get": Entry("cli.online.tenant:get", "Show a tenant."),
        "list": Entry("cli.online.tenant:list_tenants", "List the tenants."),
        "enable": Entry("cli.online.tenant:enable", "Let a disabled tenant be served again."),
        "disable": Entry("cli.online.tenant:disable", "Serve nothing of a tenant but its audit trail."),
        "destroy": Entry("cli.online.tenant:destroy", "Set the time at which a tenant is destroyed."),
        "cancel-destroy": Entry("cli.online.tenant:cancel_destroy", "Take a scheduled destruction back."),
        "receipt": Entry("cli.online.tenant:receipt", "Show the proof that a tenant was destroyed."),
        "backup": Entry("cli.online.backup:backup", "Take a backup of a tenant, as it is at one moment."),
        "restore": Entry(
            "cli.online.backup:restore", "Restore a tenant that is gone from a backup, wholly or not at all."
        ),
    },
    help="Tenants, for the platform's operators.",
    epilog="""\b
Example:
  kms tenant list""",
)
backup = LazyGroup(
    "backup",
    {"inspect": Entry("cli.offline.backup_view:inspect", "Show the header of a backup, offline.")},
    help="Files that `kms tenant backup` and `kms operator backup` wrote.",
    epilog="""\b
Example:
  kms backup inspect acme.backup""",
)
namespace = LazyGroup(
    "namespace",
    {
        "create": Entry("cli.online.namespace:create", "Make a namespace."),
        "get": Entry("cli.online.namespace:get", "Show a namespace."),
        "list": Entry("cli.online.namespace:list_namespaces", "List the namespaces of the tenant."),
        "delete": Entry("cli.online.namespace:delete", "Remove an empty namespace."),
    },
    help="Namespaces, which hold secret policies and identities.",
    epilog="""\b
Example:
  kms namespace create prod""",
)
secret_policy = LazyGroup(
    "secret-policy",
    {
        "create": Entry("cli.online.secret_policy:create", "Make a secret policy with its first revision."),
        "get": Entry("cli.online.secret_policy:get", "Show a secret policy."),
        "list": Entry("cli.online.secret_policy:list_policies", "List the secret policies of a namespace."),
        "update": Entry("cli.online.secret_policy:update", "Make the next revision of a secret policy."),
        "delete": Entry("cli.online.secret_policy:delete", "Delete a secret policy."),
        "undelete": Entry("cli.online.secret_policy:undelete", "Bring a deleted secret policy back."),
        "revisions": Entry("cli.online.secret_policy:revisions", "List the revisions of a secret policy."),
        "revoke": Entry("cli.online.secret_policy:revoke", "Deny everybody what is sealed to a revision."),
        "narrow": Entry("cli.online.secret_policy:narrow", "Deny identities what is sealed to a revision."),
        "validate": Entry("cli.online.secret_policy:validate", "Check the content of a policy."),
        "explain": Entry("cli.online.secret_policy:explain", "Say how a secret policy would decide."),
        "who-can": Entry(
            "cli.online.secret_policy:who_can", "List who is allowed by a secret policy, or may be."
        ),
        "simulate": Entry(
            "cli.online.secret_policy:simulate", "Say what a draft would have decided otherwise."
        ),
        "apply": Entry("cli.online.secret_policy:apply", "Make secret policies what files say."),
        "test": Entry("cli.offline.secret_policy:test", "Check what a policy file decides, offline."),
        "schema": Entry("cli.offline.secret_policy:schema", "Print the JSON Schema of policy files."),
    },
    help="Secret policies: who may open what is sealed to them.",
    epilog="""\b
Example:
  kms secret-policy create prod/web-tls web-tls.json""",
)
blindfold_key = LazyGroup(
    "blindfold-key",
    {
        "generate": Entry(
            "cli.online.blindfold_key:generate", "Make the tenant's next Blindfold key.", alias="rotate"
        ),
        "get": Entry("cli.online.blindfold_key:get", "Show a key version."),
        "list": Entry("cli.online.blindfold_key:list_keys", "List the key versions of the tenant."),
        "set-primary": Entry(
            "cli.online.blindfold_key:set_primary",
            "Make an enabled version the one that new secrets are sealed to.",
        ),
        "enable": Entry("cli.online.blindfold_key:enable", "Let a disabled version open again."),
        "disable": Entry("cli.online.blindfold_key:disable", "Stop a version from opening."),
        "schedule-destroy": Entry(
            "cli.online.blindfold_key:schedule_destroy", "Set the time at which a version is destroyed."
        ),
        "cancel-destroy": Entry(
            "cli.online.blindfold_key:cancel_destroy", "Take a scheduled destruction back."
        ),
    },
    help="Blindfold keys of the tenant, which secrets are sealed with.",
    epilog="""\b
Example:
  kms blindfold-key generate --wait""",
)
import_key = LazyGroup(
    "import-key",
    {
        "create": Entry(
            "cli.online.key_transfer:create_import_key",
            "Make a key to wrap material to, for one import within 24 hours.",
        )
    },
    help="Keys to wrap material to that is imported, each for one import.",
    epilog="""\b
Example:
  kms key import-key create prod --out import.pem""",
)
key = LazyGroup(
    "key",
    {
        "create": Entry("cli.online.key:create", "Make a key with its first version."),
        "get": Entry("cli.online.key:get", "Show a key."),
        "list": Entry("cli.online.key:list_keys", "List the keys of a namespace."),
        "update": Entry("cli.online.key:update", "Change what is given, and leave the rest."),
        "rotate": Entry("cli.online.key:rotate", "Make a new primary version."),
        "versions": Entry("cli.online.key:versions", "List the versions of a key."),
        "version": Entry("cli.online.key:get_version", "Show a version."),
        "set-primary": Entry("cli.online.key:set_primary", "Use an enabled version for what is new."),
        "enable": Entry("cli.online.key:enable", "Let a disabled version serve again."),
        "disable": Entry("cli.online.key:disable", "Stop a version from serving."),
        "mark-compromised": Entry("cli.online.key:mark_compromised", "Say that others may know a version."),
        "schedule-destroy": Entry(
            "cli.online.key:schedule_destroy", "Set the time at which a version's bytes are overwritten."
        ),
        "cancel-destroy": Entry("cli.online.key:cancel_destroy", "Take a scheduled destruction back."),
        "import": Entry(
            "cli.online.key_transfer:import_key", "Give a key a version whose bytes come from elsewhere."
        ),
        "import-key": import_key,
        "wrap": Entry("cli.offline.wrap:wrap", "Wrap key material to an import key, offline."),
        "export": Entry(
            "cli.online.key_transfer:export", "Get the bytes of a LOW version, wrapped to a key of yours."
        ),
        "copy": Entry(
            "cli.online.key_transfer:copy", "Give a key a version with the bytes of another key's version."
        ),
    },
    help="Keys of a namespace, and their versions.",
    epilog="""\b
Example:
  kms key create prod/orders --policy prod/orders""",
)
policy = LazyGroup(
    "policy",
    {
        "create": Entry("cli.online.kms_policy:create", "Make a KMS policy."),
        "get": Entry("cli.online.kms_policy:get", "Show a KMS policy."),
        "list": Entry("cli.online.kms_policy:list_policies", "List the KMS policies of a namespace."),
        "update": Entry("cli.online.kms_policy:update", "Give a KMS policy other rules."),
        "delete": Entry("cli.online.kms_policy:delete", "Delete a KMS policy: it denies everything."),
        "undelete": Entry("cli.online.kms_policy:undelete", "Bring a deleted KMS policy back."),
        "revisions": Entry("cli.online.kms_policy:revisions", "List the revisions of a KMS policy."),
        "validate": Entry("cli.online.kms_policy:validate", "Check the content of a policy."),
        "explain": Entry("cli.online.kms_policy:explain", "Say how a KMS policy would decide."),
        "who-can": Entry("cli.online.kms_policy:who_can", "List who is allowed by a KMS policy, or may be."),
        "simulate": Entry("cli.online.kms_policy:simulate", "Say what a draft would have decided otherwise."),
        "apply": Entry("cli.online.kms_policy:apply", "Make KMS policies what files say."),
        "test": Entry("cli.offline.kms_policy:test", "Check what a policy file decides, offline."),
        "schema": Entry("cli.offline.kms_policy:schema", "Print the JSON Schema of policy files."),
        "set-namespace": Entry(
            "cli.online.kms_policy:set_namespace", "Ask a set of policies for every key of a namespace."
        ),
    },
    help="KMS policies: who may do which operation with which key.",
    epilog="""\b
Example:
  kms policy create prod/orders orders.json""",
)
prefix_set = LazyGroup(
    "prefix-set",
    {
        "create": Entry("cli.online.prefix_set:create", "Give address prefixes a name."),
        "get": Entry("cli.online.prefix_set:get", "Show a prefix set."),
        "list": Entry("cli.online.prefix_set:list_sets", "List the prefix sets of the tenant."),
        "update": Entry("cli.online.prefix_set:update", "Change what is given, and leave the rest."),
        "delete": Entry("cli.online.prefix_set:delete", "Remove a prefix set."),
    },
    help="Prefix sets: named address prefixes, for the rules of policies.",
    epilog="""\b
Example:
  kms prefix-set create office 10.1.0.0/16""",
)
secret_access = LazyGroup(
    "secret-access",
    {
        "create": Entry("cli.online.secret_access:create", "Make an access to a vault."),
        "get": Entry("cli.online.secret_access:get", "Show an access."),
        "list": Entry("cli.online.secret_access:list_accesses", "List the accesses of a namespace."),
        "update": Entry("cli.online.secret_access:update", "Give an access another content."),
        "delete": Entry("cli.online.secret_access:delete", "Remove an access."),
        "apply": Entry("cli.online.secret_access:apply", "Make accesses what files say."),
        "addressee": Entry("cli.offline.addressee:addressee", "Print the name to seal a credential with."),
        "schema": Entry("cli.offline.access_schema:schema", "Print the JSON Schema of access files."),
    },
    help="Accesses: how workloads reach vaults, and with which sealed credentials.",
    epilog="""\b
Example:
  kms secret-access create prod/corp-vault access.yaml""",
)
rate_limiter = LazyGroup(
    "rate-limiter",
    {
        "create": Entry("cli.online.limits:create_limiter", "Limit the calls of each user of the tenant."),
        "get": Entry("cli.online.limits:get_limiter", "Show a rate limiter."),
        "list": Entry("cli.online.limits:list_limiters", "List the rate limiters of the tenant."),
        "update": Entry("cli.online.limits:update_limiter", "Change what is given, and leave the rest."),
        "delete": Entry("cli.online.limits:delete_limiter", "Remove a rate limiter."),
    },
    help="Rate limiters: how many units each user has of the tenant's calls.",
    epilog="""\b
Example:
  kms rate-limiter create app --class USE --rate 100/second""",
)
user_identification = LazyGroup(
    "user-identification",
    {
        "create": Entry("cli.online.limits:create_identification", "Say what tells users apart."),
        "get": Entry("cli.online.limits:get_identification", "Show a user identification."),
        "list": Entry(
            "cli.online.limits:list_identifications", "List the user identifications of the tenant."
        ),
        "update": Entry(
            "cli.online.limits:update_identification", "Change what is given, and leave the rest."
        ),
        "delete": Entry(
            "cli.online.limits:delete_identification", "Remove a user identification that no limiter names."
        ),
    },
    help="User identifications: what tells users apart for rate limiters.",
    epilog="""\b
Example:
  kms user-identification create end-user --kind HEADER --header x-user""",
)
audit = LazyGroup(
    "audit",
    {
        "list": Entry("cli.online.audit:list_events", "List the events of the tenant."),
        "export": Entry("cli.online.audit:export", "Export the whole chain as JSON lines."),
        "verify": Entry("cli.local.audit_verify:verify", "Verify an exported audit trail, offline."),
        "prove": Entry(
            "cli.local.audit_verify:prove", "Show the events of receipts in an exported audit trail."
        ),
        "checkpoint": Entry("cli.online.audit:checkpoint", "Make a signed checkpoint of the chain."),
    },
    help="The audit trail: what was decided and changed, and the proof that nothing is missing.",
    epilog="""\b
Example:
  kms audit list --decision DENY""",
)
vectors = LazyGroup(
    "vectors",
    {"verify": Entry("cli.online.vectors:verify", "Check a KMS against test vectors, through its API.")},
    help="Test vectors of others and of this project.",
    epilog="""\b
Example:
  kms vectors verify""",
)
program = Program(
    "kms",
    {
        "init": Entry("cli.local.init:init", "Make a new KMS."),
        "serve": Entry("cli.local.serve:serve", "Serve until SIGTERM or Ctrl-C."),
        "recover": Entry("cli.local.recover:recover", "Issue new credentials for a known identity."),
        "restore-store": Entry(
            "cli.local.restore_store:restore_store", "Restore a whole store from backups."
        ),
        "verify-store": Entry("cli.local.verify_store:verify_store", "Look at every invariant of a store."),
        "status": Entry("cli.online.status:status", "Show the state of the server."),
        "operator": operator_group,
        "tenant": tenant,
        "backup": backup,
        "namespace": namespace,
        "identity": identity,
        "identity-authority": identity_authority,
        "jwt-issuer": jwt_issuer,
        "trusted-authority": trusted_authority,
        "secret-policy": secret_policy,
        "blindfold-key": blindfold_key,
        "policy": policy,
        "prefix-set": prefix_set,
        "secret-access": secret_access,
        "key": key,
        "import": import_group,
        "encrypt": Entry(
            "cli.online.crypto:encrypt", "Encrypt up to 64 KiB under the primary version of a key."
        ),
        "decrypt": Entry("cli.online.crypto:decrypt", "Decrypt what a key encrypted."),
        "reencrypt": Entry(
            "cli.online.crypto:reencrypt", "Move a ciphertext to the primary version of a key."
        ),
        "data-key": Entry(
            "cli.online.crypto:data_key", "Make a data key, to encrypt more than a call takes."
        ),
        "sign": Entry("cli.online.crypto:sign", "Sign a message of up to 64 KiB with RSA-PSS."),
        "verify": Entry("cli.online.crypto:verify", "Verify a signature by a version of a key."),
        "mac": Entry("cli.online.crypto:mac", "Make an HMAC-SHA256 code of up to 64 KiB."),
        "mac-verify": Entry("cli.online.crypto:mac_verify", "Verify a code by a version of a key."),
        "public-key": Entry("cli.online.crypto:public_key", "Get the public key of a version."),
        "random": Entry(
            "cli.online.crypto:random", "Get random bytes, if the KMS policy of a namespace allows it."
        ),
        "rate-limiter": rate_limiter,
        "user-identification": user_identification,
        "audit": audit,
        "vectors": vectors,
        "completion": Entry(
            "cli.completion:completion", "Print the script that completes this program's commands."
        ),
    },
    help="Run the key management service, and manage what it keeps.",
    epilog="""\b
Example:
  kms init --data kms-data --tenant acme
  kms serve --data kms-data""",
)
click.version_option(package_name="blindfold-kms")(program)


def main() -> None:
    run(program)
