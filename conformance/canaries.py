"""Canaries: files beside the stores that no pull has any business with.

Hostile content aims at them and at nothing else, so that a puller which escapes is seen, and does
no harm to the machine that judges it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["canaries_touched", "place_canaries"]

_FILES = ("canary", "outside/canary", "outside/etc/passwd")
_FOLDERS = ("outside", "outside/etc")
_TEXT = "pullproof canary: nobody writes here\n"
_WHEN = 1_000_000_000
"""Modification time of every canary, in seconds since 1970."""
_EXPECTED = {"canary", "outside", "trust", "stores", "outputs", "session"}


def place_canaries(directory: Path) -> None:
    """Put the canaries into the folder of one play."""
    for name in _FILES:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_TEXT)
        path.chmod(0o644)
        os.utime(path, (_WHEN, _WHEN))
    for name in _FOLDERS:
        (directory / name).chmod(0o755)


def canaries_touched(directory: Path) -> list[str]:
    """What was done outside of store, output and session, a line each."""
    lines = [
        f"wrote {path.name} beside the store"
        for path in sorted(directory.iterdir())
        if path.name not in _EXPECTED
    ]
    for name in _FILES:
        done = _done_to(directory / name)
        if done:
            lines.append(f"{done} {name}, which lies outside of store and output")
    for name in _FOLDERS:
        if not _is_folder(directory / name):
            lines.append(f"changed {name}, which lies outside of store and output")
    for path in sorted((directory / "outside").rglob("*")):
        name = str(path.relative_to(directory))
        if name not in _FILES + _FOLDERS:
            lines.append(f"wrote {name}, outside of store and output")
    return lines


def _done_to(path: Path) -> str:
    """What was done to one canary; empty where it stands as it was placed."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or path.read_text("utf-8", "replace") != _TEXT:
            return "changed"
    except OSError:
        return "removed"
    if found.st_nlink != 1:
        return "made a hard link to"
    if stat.S_IMODE(found.st_mode) != 0o644 or int(found.st_mtime) != _WHEN:
        return "changed the attributes of"
    return ""


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o755
