"""Where the root key's protection comes from; each provider passes one contract suite."""
