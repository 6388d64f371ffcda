"""Applying a layer: every file ends inside of the root, and no path leads the kernel out of it."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fuzz_tar
from fuzz_tar import CANARY, MENDED, mended
from harness import PromiseError, held

from fakeregistry import Directory, File, Hardlink, Symlink, Whiteout
from fakeregistry.content import OpaqueWhiteout, tar_bytes
from fakeregistry.content.hostile import EVIL
from reference.descriptors import OCI_LAYER
from reference.errors import LayerError
from reference.layers import LayerApplier
from reference.rootfs import remove_tree

UNPRIVILEGED = 2
"""In an input's first byte: apply it as somebody who isn't root would."""
_PATHS = frozenset(
    {
        *("open", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.symlink", "os.rename"),
        *("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.listdir", "os.truncate"),
    }
)
"""Audit events whose first arguments are paths."""
_DESCRIPTOR = re.compile(rb"/proc/self/fd/[0-9]+(/[^/]*)?", re.DOTALL)
_SEEN: list[str] = []
_root = b""
"""The only path that may be opened as one; empty while nobody watches."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _root or event not in _PATHS:
        return
    for path in arguments[1:2] if event == "os.symlink" else arguments[:2]:
        if not isinstance(path, str | bytes):
            continue
        text = os.fsencode(path)
        if b"/" in text and text != _root and not _DESCRIPTOR.fullmatch(text):
            _SEEN.append(f"{event} {path!r}")


sys.addaudithook(_hook)


@contextmanager
def watched(root: Path) -> Iterator[None]:
    """Note every path of more than one name that is given to the kernel."""
    global _root
    _SEEN.clear()
    _root = os.fsencode(root)
    try:
        yield
    finally:
        _root = b""


LOWER = tar_bytes(
    [
        Directory("d/e", mode=0o700),
        File("d/e/f", "below"),
        File("file", "below"),
        Symlink("absolute", CANARY),
        Symlink("up", "../" * 20),
        Symlink("loop", "loop"),
        Symlink("inside", "d/e"),
        Symlink("dangling", "not/here"),
        Hardlink("hard", "file"),
        Directory("closed", mode=0),
    ]
)
"""What lies below each layer: all kinds of things that a path can go through."""
_TARGETS = ("absolute", "up", "loop", "inside", "dangling", "file", "d", "hard", "closed", "")
WORDS = [*fuzz_tar.WORDS, *(name.encode() + b"/" for name in _TARGETS), CANARY.encode()]
SEEDS = [
    *fuzz_tar.SEEDS,
    *(bytes([MENDED | UNPRIVILEGED]) + seed[1:] for seed in fuzz_tar.SEEDS[4:7]),
    *(
        b"\1" + tar_bytes([*made, File("after")])
        for name in _TARGETS
        for made in (
            [File(f"{name}/x", "through")],
            [Directory(f"{name}/x/y")],
            [Symlink(f"{name}/x", CANARY), File(f"{name}/x/y")],
            [Hardlink("stolen", f"{name}/e/f")],
            [Whiteout(f"{name}/e")],
            [OpaqueWhiteout(name)],
            [File(name or "x", "instead"), Directory(f"{name or 'x'}/y")],
        )
    ),
    b"\1" + tar_bytes([Symlink(f"l{n}", f"l{n + 1}/" * 50) for n in range(45)] + [File("l0/x")]),
    b"\1" + tar_bytes([File("a/" * 500 + "x")]),
    *(
        b"\1" + tar_bytes(make(CANARY).below + tuple(make(CANARY).entries))
        for make in EVIL.values()
    ),
]


def outside(folder: Path) -> list[tuple[object, ...]]:
    """Everything in a folder but the root in it, and whether there is a canary."""
    found: list[tuple[object, ...]] = [(os.path.lexists(CANARY),)]
    for path in (folder, *sorted(folder.rglob("*"))):
        if (folder / "root") not in (path, *path.parents):
            seen = path.lstat()
            found.append((path, seen.st_mode, seen.st_nlink, seen.st_size, seen.st_uid))
            found.append((seen.st_mtime_ns,))
    return found


def fuzz_one(data: bytes) -> None:
    """Apply the layer over `LOWER`, and look at what is beside the root."""
    options = data[0] if data else 0
    archive = mended(data[1:]) if options & MENDED else data[1:]
    privileged = False if options & UNPRIVILEGED else None
    folder = Path(tempfile.mkdtemp(prefix="fuzz-layers-"))
    try:
        (folder / "root").mkdir()
        (folder / "beside").mkdir()
        (folder / "beside" / "file").write_text("outside")
        applier = LayerApplier(folder / "root", privileged=privileged)
        applier.apply(io.BytesIO(LOWER), OCI_LAYER)
        before = outside(folder)
        with held(data, LayerError, steps=(30_000, 60)), watched(folder / "root"):
            applier.apply(io.BytesIO(archive), OCI_LAYER)
        if _SEEN:
            raise PromiseError(f"the kernel was given a path to follow: {_SEEN[:3]}")
        if outside(folder) != before:
            raise PromiseError("something outside of the root has changed")
    finally:
        remove_tree(folder)
