"""The groups of commands about who is who."""

from cli.program import Entry, LazyGroup

identity = LazyGroup(
    "identity",
    {
        "create-token": Entry("cli.online.identity:create_token", "Make a join token."),
        "enrol": Entry("cli.online.enrol:enrol", "Spend a join token."),
        "renew": Entry("cli.online.identity:renew", "Renew the certificate that calls are made with."),
        "get": Entry("cli.online.identity:get", "Show an identity and its certificates."),
        "list": Entry("cli.online.identity:list_identities", "List the identities of a namespace."),
        "revoke": Entry("cli.online.identity:revoke", "Refuse an identity, or one of its certificates."),
        "delete": Entry("cli.online.identity:delete", "Forget a revoked identity."),
    },
    help="Identities: who may call, and with which names, labels and roles.",
    epilog="""\b
Example:
  kms identity create-token prod/web --label app=web --out web.token
  kms identity enrol --out credentials web.token""",
)
_OWN = "cli.online.identity_authority"
identity_authority = LazyGroup(
    "identity-authority",
    {
        "status": Entry(f"{_OWN}:status", "Show the KMS's roots and intermediates."),
        "prepare": Entry(
            f"{_OWN}:prepare", "Make the key of the next intermediate, and a request for its certificate."
        ),
        "sign": Entry(
            "cli.offline.identity_root:sign",
            "Certify the KMS's next intermediate with the root's key, offline.",
        ),
        "activate": Entry(f"{_OWN}:activate", "Issue with a prepared intermediate from now on."),
        "retire": Entry(f"{_OWN}:retire", "Refuse all that an intermediate issued."),
        "new-root": Entry(
            "cli.offline.identity_root:new_root",
            "Make a new identity root, endorsed by the one before, offline.",
        ),
        "publish-root": Entry(f"{_OWN}:publish_root", "Have clients trust a new root beside the one before."),
        "adopt-root": Entry(
            "cli.local.adopt_root:adopt_root",
            "Trust a root that no root before endorses, while the server is stopped.",
        ),
        "retire-root": Entry(f"{_OWN}:retire_root", "Trust a root no more, nor what it signed."),
        "bundle": Entry(f"{_OWN}:bundle", "Write the roots that are trusted."),
    },
    help="The KMS's own authorities, and how they are replaced. For operators.",
    epilog="""\b
Example:
  kms identity-authority prepare --out next.csr
  kms identity-authority sign --root identity-root.pem --key-sha256 sha256:... --out next.pem next.csr
  kms identity-authority activate ca-0123456789abcdef next.pem""",
)
jwt_issuer = LazyGroup(
    "jwt-issuer",
    {
        "create": Entry("cli.online.jwt_issuer:create", "Let an issuer's tokens enrol workloads."),
        "get": Entry("cli.online.jwt_issuer:get", "Show an issuer."),
        "list": Entry("cli.online.jwt_issuer:list_issuers", "List the issuers of the tenant."),
        "update": Entry("cli.online.jwt_issuer:update", "Replace all of an issuer."),
        "delete": Entry("cli.online.jwt_issuer:delete", "Trust an issuer no more."),
    },
    help="Issuers of JSON Web Tokens that enrol workloads, such as Kubernetes clusters.",
    epilog="""\b
Example:
  kms jwt-issuer list""",
)
trusted_authority = LazyGroup(
    "trusted-authority",
    {
        "create": Entry("cli.online.trusted_authority:create", "Trust an authority of the tenant's own."),
        "get": Entry("cli.online.trusted_authority:get", "Show a trusted authority."),
        "list": Entry(
            "cli.online.trusted_authority:list_authorities", "List the trusted authorities of the tenant."
        ),
        "update": Entry("cli.online.trusted_authority:update", "Replace all of a trusted authority."),
        "revoke": Entry(
            "cli.online.trusted_authority:revoke", "Refuse one certificate of a trusted authority."
        ),
        "delete": Entry("cli.online.trusted_authority:delete", "Trust an authority no more."),
    },
    help="X.509 authorities of a tenant's own, such as a company's.",
    epilog="""\b
Example:
  kms trusted-authority list""",
)
