"""Seeds: one per run, fresh unless repeated, from which all content and all secrets are made."""

from __future__ import annotations

import hashlib
import re
import secrets

__all__ = ["NEIGHBOUR", "new_seed", "salt", "valid", "world_salt"]

NEIGHBOUR = "honest neighbour"
"""Stands for the case's id in neighbours: cases with the same honest world share one."""

_GRAMMAR = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_seed() -> str:
    """A fresh seed: eight hexadecimal digits, short enough to be typed again."""
    return secrets.token_hex(4)


def valid(seed: str) -> bool:
    """Whether text can be a seed: it appears in paths and on command lines."""
    return _GRAMMAR.fullmatch(seed) is not None


def salt(seed: str, case: str) -> str:
    """What is mixed into all content of one case, so that no cache serves one from another."""
    return hashlib.sha256(f"{seed}\n{case}".encode()).hexdigest()[:16]


def world_salt(seed: str, case: str, *, honest: bool) -> str:
    """The salt of a case's lying world, or the one that all neighbours share."""
    return salt(seed, NEIGHBOUR if honest else case)
