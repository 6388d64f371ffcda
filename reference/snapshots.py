"""Unpacked images: one plain folder for each, named by what was applied in it.

    <root>/snapshots/<algorithm>-<hex>   the files of all layers up to that chain id
    <root>/snapshots/….labels            its labels, where it has more than its chain id (JSON)
    <root>/snapshots/.new-…              one that is being made, locked by who makes it

A folder gets its name when the last layer is in it and every diff id was right, so one that can be
found is whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reference.descriptors import Descriptor, digest_of, is_encrypted_type
from reference.errors import StoreError
from reference.labels import SNAPSHOT_REF, labels_of
from reference.layers import LayerApplier
from reference.manifests import ImageConfig, Manifest
from reference.rootfs import remove_tree
from reference.store import Store, disk

NATIVE = "native"
_NEW = ".new-"
_LABELS = ".labels"
_LOOK = 0.05  # seconds after which a pull that waits for another sees that it was cancelled
EMPTY_CHAIN = digest_of(b"")
"""Stands for the chain id of no layers at all, which has none."""


def chain_id(diff_ids: Sequence[str]) -> str:
    """The name of a stack of layers (image-spec config, "Layer ChainID")."""
    chain = EMPTY_CHAIN
    for number, diff_id in enumerate(diff_ids):
        chain = digest_of(f"{chain} {diff_id}".encode()) if number else diff_id
    return chain


@dataclass(frozen=True)
class Mount:
    """How a snapshot is made visible, in the words of mount(2) (containerd `core/mount`)."""

    type: str
    source: str
    options: tuple[str, ...]


class Snapshots:
    """The unpacked images under one root."""

    name = NATIVE
    """How configurations call it."""
    folder = "snapshots"

    def __init__(
        self,
        root: Path,
        layers: type[LayerApplier],
        keys: Sequence[Path] = (),
        max_layer_size: int = 0,
    ) -> None:
        self.layers = partial(layers, max_layer_size=max_layer_size)
        self.keys = keys
        self._busy: set[Path] = set()
        self._free = threading.Condition()
        self.root = root / self.folder
        with disk(f"cannot set up snapshots in {root}"):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, diff_ids: Sequence[str]) -> Path:
        """Where the snapshot with these layers is, or would be."""
        return self.root / chain_id(diff_ids).replace(":", "-")

    def has(self, diff_ids: Sequence[str]) -> bool:
        """Whether the image with these layers is unpacked."""
        return all(folder.is_dir() for folder in self.folders_of(diff_ids))

    def folders_of(self, diff_ids: Sequence[str]) -> list[Path]:
        """Every folder that the image is made of."""
        return [self.path(diff_ids)]

    def rootfs(self, diff_ids: Sequence[str]) -> Path | None:
        """The image's tree where it is one folder; None where it has to be mounted."""
        return self.path(diff_ids)

    def mounts(self, diff_ids: Sequence[str]) -> list[Mount]:
        """How the image is mounted."""
        return [Mount("bind", str(self.path(diff_ids)), ("rbind", "ro"))]

    @contextmanager
    def view(self, diff_ids: Sequence[str]) -> Iterator[Path]:
        """The image as one tree, for as long as the block lasts."""
        yield self.path(diff_ids)

    def labels(self, diff_ids: Sequence[str]) -> list[dict[str, str]]:
        """The labels of each of `folders_of`: what was said of its layer, and its chain id."""
        found = []
        for folder in self.folders_of(diff_ids):
            labels = {}
            try:
                with disk(f"cannot read {_beside(folder)}"), suppress(FileNotFoundError):
                    labels = json.loads(_beside(folder).read_bytes())
            except ValueError:
                raise StoreError(f"{_beside(folder)} is damaged") from None
            found.append({**labels, SNAPSHOT_REF: folder.name.replace("-", ":", 1)})
        return found

    def folders(self) -> list[Path]:
        """Every folder, those that a killed pull left half unpacked too, and those of labels."""
        with disk("cannot list the snapshots"):
            return sorted(
                {path.with_name(path.name.removesuffix(_LABELS)) for path in self.root.iterdir()}
            )

    def remove(self, folder: Path) -> None:
        """Remove one of `folders`, and its labels; nobody may be using it."""
        remove_tree(folder)
        _beside(folder).unlink(missing_ok=True)

    def prepare(
        self,
        store: Store,
        manifest: Manifest,
        config: ImageConfig,
        wait: Callable[[Descriptor], None],
        check: Callable[[], None],
    ) -> None:
        """Have the image unpacked; `wait` returns when a layer's blob is in the store.

        `check` is called often and may raise, to stop at once. A folder that isn't complete is
        removed again, whatever went wrong.
        """
        target = self.path(config.diff_ids)
        with self.alone(target, check):
            if target.is_dir():
                return
            with self.making() as made:
                self.apply(made, store, manifest, config, wait, check)
                self.publish(
                    made, target, labels_of(manifest.layers[-1]) if manifest.layers else {}
                )

    @contextmanager
    def alone(self, target: Path, check: Callable[[], None]) -> Iterator[None]:
        """Be the only pull of this process that unpacks `target`; others wait (CONC-07)."""
        with self._free:
            while target in self._busy:
                check()
                self._free.wait(_LOOK)
            self._busy.add(target)
        try:
            yield
        finally:
            with self._free:
                self._busy.remove(target)
                self._free.notify_all()

    @contextmanager
    def making(self) -> Iterator[Path]:
        """A new folder, locked while it is being filled, and removed unless it got its name."""
        with ExitStack() as stack, disk(f"cannot make a folder in {self.root}"):
            self.sweep()
            while True:
                made = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.root))
                try:
                    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
                except FileNotFoundError:
                    continue  # another pull took it for what a killed one had left
                stack.callback(os.close, lock)
                stack.callback(remove_tree, made)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if made.exists():
                    break  # nobody swept it away before it was locked
            made.chmod(0o755)
            cleanup = stack.pop_all()
        with cleanup:
            yield made

    def sweep(self) -> None:
        """Remove what pulls that were killed left half unpacked; locked ones are under way."""
        for left in self.root.glob(f"{_NEW}*"):
            with suppress(FileNotFoundError, BlockingIOError):
                lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_tree(left)
                finally:
                    os.close(lock)

    def apply(
        self,
        folder: Path,
        store: Store,
        manifest: Manifest,
        config: ImageConfig,
        wait: Callable[[Descriptor], None],
        check: Callable[[], None],
    ) -> None:
        """Apply the layers to `folder`, the lowest first, each with its diff id verified."""
        applier = self.layers(folder, check=check)
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            wait(layer)
            check()
            self.apply_layer(applier, store, layer, diff_id)

    def apply_layer(
        self, applier: LayerApplier, store: Store, layer: Descriptor, diff_id: str
    ) -> None:
        """Apply one layer, by one of our keys where it is encrypted."""
        if not is_encrypted_type(layer.media_type):
            applier.apply(store.path(layer.digest), layer.media_type, diff_id)
            return
        from reference.encryption import Keys

        with Keys(self.keys).opened(store.path(layer.digest), layer) as (blob, media_type):
            applier.apply(blob, media_type, diff_id)

    def publish(self, made: Path, target: Path, labels: Mapping[str, str]) -> None:
        """Give a complete folder its labels and its name."""
        with disk(f"cannot publish {target}"):
            if labels:
                written = made.with_name(f"{_LABELS}{made.name}")
                with written.open("w") as file:
                    json.dump(labels, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(written, _beside(target))
            else:
                _beside(target).unlink(missing_ok=True)
            try:
                os.rename(made, target)
            except OSError:
                # Another process may have been faster: its folder is as good.
                # rename() says ENOTEMPTY where a folder of that name has files in it.
                if not target.is_dir():
                    raise


def _beside(folder: Path) -> Path:
    return folder.with_name(folder.name + _LABELS)
