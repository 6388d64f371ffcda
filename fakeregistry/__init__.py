"""A scriptable OCI registry: honest by default, and wrong in exactly the way you ask for."""
