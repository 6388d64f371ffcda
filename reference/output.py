"""Folders that a user asked for: they appear complete under their name, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference.errors import StoreError
from reference.rootfs import remove_tree
from reference.store import disk, sync_directory


class OutputExistsError(StoreError):
    """The folder to be written is there already and holds something."""


def check_free(path: Path) -> None:
    """Refuse to write over anything: the folder must not exist, or be empty and replaceable."""
    with disk(f"cannot look at {path}"):
        if path.is_dir():
            if any(path.iterdir()):
                raise OutputExistsError(f"{path} exists and is not empty: name another folder")
            # Another folder takes its place: the kernel refuses that of a mount point, and whoever
            # works in the old one would look at an empty folder without a name.
            if os.path.ismount(path) or path.samefile(os.curdir):
                kind = "a mount point" if os.path.ismount(path) else "the current folder"
                raise OutputExistsError(
                    f"{path} is {kind}, which can't be replaced: name one in it"
                )
        elif os.path.lexists(path):
            raise OutputExistsError(f"{path} exists and is not a folder: name another one")


@contextmanager
def fresh_directory(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place when the block ends well.

    When it doesn't, whatever the reason, the folder is removed with all that is in it.
    """
    path = Path(os.path.realpath(path))  # a link to an empty folder means that folder
    check_free(path)
    with disk(f"cannot make a folder beside {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}.", dir=path.parent))
    try:
        made.chmod(0o755)
        yield made
        with disk(f"cannot give {path} its name"):
            os.rename(made, path)
            sync_directory(path.parent)
    except BaseException:
        remove_tree(made)
        raise
