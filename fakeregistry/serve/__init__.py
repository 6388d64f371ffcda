"""The command line, and what it serves: worlds, the control API, words for people."""
