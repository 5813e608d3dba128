"""The group `kms operator`: the root of trust, its shares, the lock of the server, and the whole store."""

from cli.program import Entry, LazyGroup

operator_group = LazyGroup(
    "operator",
    {
        "status": Entry("cli.online.unlocking:status", "Show whether the server is locked."),
        "unlock": Entry(
            "cli.online.unlocking:unlock",
            "Give the words of one share, from a file or standard input, to a locked server.",
        ),
        "backup": Entry(
            "cli.online.backup:backup_whole", "Take a backup of the whole store, as it is at one moment."
        ),
        "lock": Entry("cli.online.root_of_trust:lock", "Lock the server."),
        "rekey": Entry(
            "cli.online.root_of_trust:rekey", "Draw a new root key, or change what protects the root key."
        ),
        "rotation": Entry(
            "cli.online.root_of_trust:rotation", "Show how far the rotation of the root key is."
        ),
        "approve": Entry(
            "cli.online.root_of_trust:approve", "Give a share of the present set for a change that waits."
        ),
        "shares": Entry("cli.online.root_of_trust:shares", "Get the shares, each wrapped to its holder."),
        "recover-shares": Entry(
            "cli.local.recover_shares:recover_shares", "Get the wrapped shares out of a store that is locked."
        ),
        "keygen": Entry("cli.offline.share_keys:keygen", "Make a key that a share can be wrapped to."),
        "unwrap-share": Entry(
            "cli.offline.share_keys:unwrap", "Print the words of a share that was wrapped to your key."
        ),
    },
    help="The root of trust, its shares, and backups of the whole store, for the platform's operators.",
    epilog="""\b
Example:
  kms operator status
  kms operator unwrap-share --key olga.pem share-1.json | kms operator unlock""",
)
