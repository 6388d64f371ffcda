"""Who may do what, and how a registry and its token service say so."""
