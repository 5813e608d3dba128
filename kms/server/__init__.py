"""The KMS on the wire: listeners, the path of a call, and one servicer for each service of the API."""
