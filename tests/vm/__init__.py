"""A gateway in a virtual machine whose kernel has a /dev/sev-guest."""
