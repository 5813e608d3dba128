"""The sidecar: secrets and an identity for one workload, from localhost."""
