"""Snapshots for overlayfs: one folder for each layer, which images with the same layers share.

    <root>/overlay/<algorithm>-<hex>   what the layer on top of that chain changes

A layer is applied to a mount of overlayfs whose lower folders are the layers below; so the kernel
itself keeps whiteouts (a character device 0, 0) and opaque directories (an attribute), as they are
in containerd's overlayfs snapshotter. The lowest layer needs no mount. To mount takes root, or a
user namespace whose kernel allows it.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reference.descriptors import Descriptor
from reference.errors import StoreError
from reference.labels import labels_of
from reference.manifests import ImageConfig, Manifest
from reference.snapshots import Mount, Snapshots
from reference.store import Store, disk

_MOUNT = ".mount-"
_READ_ONLY, _DETACH = 1, 2
_PAGE = 4096
"""Longest options of a mount: what the kernel copies."""


class OverlaySnapshots(Snapshots):
    """Layers under one root, each applied once however many images have it."""

    name = "overlayfs"
    folder = "overlay"

    def chain(self, diff_ids: Sequence[str]) -> list[Path]:
        """The folders of all layers, the lowest first."""
        return [self.path(diff_ids[: number + 1]) for number in range(len(diff_ids))]

    def folders_of(self, diff_ids: Sequence[str]) -> list[Path]:
        """Every folder that the image is made of."""
        return self.chain(diff_ids)

    def remove(self, folder: Path) -> None:
        """Remove one of `folders`, also a place where a killed pull left something mounted."""
        if folder.name.startswith(_MOUNT):
            _libc.umount2(os.fsencode(folder), _DETACH)  # most often nothing is mounted any more
        super().remove(folder)

    def prepare(
        self,
        store: Store,
        manifest: Manifest,
        config: ImageConfig,
        wait: Callable[[Descriptor], None],
        check: Callable[[], None],
    ) -> None:
        """Apply the layers that no image before had; `view` shows them together."""
        chain = self.chain(config.diff_ids)
        for number, target in enumerate(chain):
            with self.alone(target, check):
                if target.is_dir():
                    continue
                layer = manifest.layers[number]
                wait(layer)
                with self.making() as made:
                    with self.upper(made, chain[:number]) as folder:
                        applier = self.layers(folder, check=check)
                        self.apply_layer(applier, store, layer, config.diff_ids[number])
                    self.publish(made, target, labels_of(layer))

    @contextmanager
    def upper(self, made: Path, below: Sequence[Path]) -> Iterator[Path]:
        """A folder in which the layers below are seen, and changes go to `made`."""
        if not below:
            yield made
            return
        # Beside `made`: overlayfs moves files between the two.
        with tempfile.TemporaryDirectory(prefix=".work-", dir=self.root) as work:
            with self.mounted(below, upper=made, work=Path(work) / "work") as point:
                yield point

    @contextmanager
    def view(self, diff_ids: Sequence[str]) -> Iterator[Path]:
        """The image as one tree, read-only, mounted for as long as the block lasts."""
        chain = self.chain(diff_ids)
        if len(chain) == 1:
            yield chain[0]
            return
        with self.mounted(chain) as point:
            yield point

    def rootfs(self, diff_ids: Sequence[str]) -> Path | None:
        """Several layers are a tree only while they are mounted."""
        return self.path(diff_ids) if len(diff_ids) <= 1 else None

    def mounts(self, diff_ids: Sequence[str]) -> list[Mount]:
        """How the image is mounted."""
        chain = self.chain(diff_ids)
        if len(chain) == 1:
            return super().mounts(diff_ids)
        lower = ":".join(str(path) for path in reversed(chain))
        return [Mount("overlay", "overlay", (f"lowerdir={lower}",))]

    @contextmanager
    def mounted(
        self, below: Sequence[Path], upper: Path | None = None, work: Path | None = None
    ) -> Iterator[Path]:
        """A mount of overlayfs that is gone when the block ends."""
        with ExitStack() as stack, disk("cannot mount overlayfs"):

            def named(path: Path) -> str:
                # Short, whatever the path: options have one page, and an image 127 layers.
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                return f"/proc/self/fd/{fd}"

            options = "lowerdir=" + ":".join(named(path) for path in reversed(below))
            if upper is not None and work is not None:
                work.mkdir()
                options += f",upperdir={named(upper)},workdir={named(work)}"
            if len(options) >= _PAGE:
                raise StoreError(f"{len(below)} layers are more than overlayfs can be told of")
            point = stack.enter_context(tempfile.TemporaryDirectory(prefix=_MOUNT, dir=self.root))
            _mount(point, options, 0 if upper else _READ_ONLY)
            stack.callback(_unmount, point)
            cleanup = stack.pop_all()
        with cleanup:
            yield Path(point)


_libc = ctypes.CDLL(None, use_errno=True)


def _mount(point: str, options: str, flags: int) -> None:
    target, data = os.fsencode(point), options.encode()
    if _libc.mount(b"overlay", target, b"overlay", ctypes.c_ulong(flags), data):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _unmount(point: str) -> None:
    if _libc.umount2(os.fsencode(point), _DETACH):
        raise StoreError(f"cannot unmount {point}: {os.strerror(ctypes.get_errno())}")
