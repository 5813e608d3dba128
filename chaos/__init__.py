"""What must hold of a real server whatever happens to its process, its disk and its clock: `make chaos`."""
