"""The commands of `kms import`."""

from cli.program import Entry, LazyGroup

import_group = LazyGroup(
    "import",
    {
        "vault-transit": Entry(
            "cli.online.vault_import:vault_transit",
            "Bring all versions of an exportable transit key here, under their numbers.",
        ),
        "vault-ciphertexts": Entry(
            "cli.online.vault_import:vault_ciphertexts",
            "Move ciphertexts of an imported transit key to a key of this KMS.",
        ),
        "vault-compare": Entry(
            "cli.online.vault_import:vault_compare",
            "Have the vault and the KMS decrypt the same, and say where they differ.",
        ),
    },
    help="What another key service has, brought here.",
    epilog="""\b
Example:
  kms import vault-transit prod/corp-vault transit/orders prod/orders-vault""",
)
