"""A layer: entries, their tar, the compressed blob, and what its descriptor says of it."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .compression import compress
from .descriptors import Algorithm, Descriptor, Document, Object, digest_of, merged
from .entries import Directory, Entry, File, Symlink
from .mediatypes import Compression, layer_type
from .tar import Format, tar_bytes

SALT_FILE = "salt"
"""The file at the root of a salted layer that makes its bytes its own."""


@dataclass(frozen=True)
class Layer:
    """One layer of an image. Frozen: change it with :func:`dataclasses.replace`.

    Honest by default; each lie has its own field:

    ``raw_tar`` / ``raw_blob``
        these bytes instead of the written tar / of the compressed stream.
    ``tar_trailing`` / ``trailing``
        bytes after the end of the archive / after the compressed stream.
    ``cut``
        the blob ends at this offset (negative: counted from its end); digest and size are those
        of the cut blob, so only the decompressor can notice.
    ``members``
        the compressed stream is made of so many gzip members or zstd frames.
    ``declared``
        keys put over the descriptor (``size``, ``digest``, ``mediaType``, …; ``OMIT`` drops one).
    ``declared_diff_id``
        what the config says of this layer instead of the truth.
    ``counted``
        False: the config has no diff_id for this layer.
    ``served``
        False: the registry doesn't have the blob.
    ``docker`` follows the image that holds the layer.
    """

    entries: tuple[Entry, ...] = ()
    compression: Compression = "gzip"
    docker: bool = False
    foreign: bool = False
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    embed: bool = False
    """True: the descriptor carries the blob itself in ``data`` (image-spec, descriptor.md)."""
    algorithm: Algorithm = "sha256"
    form: Format = "pax"
    members: int = 1
    level: int | None = None
    raw_tar: bytes | None = field(default=None, repr=False)
    raw_blob: bytes | None = field(default=None, repr=False)
    tar_trailing: bytes = field(default=b"", repr=False)
    trailing: bytes = field(default=b"", repr=False)
    cut: int | None = None
    declared: Mapping[str, Any] = field(default_factory=dict, hash=False)
    declared_diff_id: str | None = None
    counted: bool = True
    served: bool = True

    def __post_init__(self) -> None:
        # A list is what one writes; a tuple is what can be frozen.
        object.__setattr__(self, "entries", tuple(self.entries))
        object.__setattr__(self, "urls", tuple(self.urls))

    @cached_property
    def tar(self) -> bytes:
        """The uncompressed archive, whose digest is the diff_id."""
        written = tar_bytes(self.entries, self.form) if self.raw_tar is None else self.raw_tar
        return written + self.tar_trailing

    @cached_property
    def blob(self) -> bytes:
        """The bytes that the registry serves."""
        if self.raw_blob is not None:
            whole = self.raw_blob
        else:
            whole = compress(self.tar, self.compression, members=self.members, level=self.level)
        whole += self.trailing
        return whole if self.cut is None else whole[: self.cut]

    @property
    def media_type(self) -> str:
        """What the descriptor calls it: by its compression, unless declared otherwise."""
        declared = self.declared.get("mediaType")
        if isinstance(declared, str):
            return declared
        return layer_type(self.compression, docker=self.docker, foreign=self.foreign)

    @property
    def size(self) -> int:
        """Length of the blob in bytes: the truth, whatever the descriptor declares."""
        return len(self.blob)

    @cached_property
    def content_digest(self) -> str:
        """The digest that the blob truly has."""
        return digest_of(self.blob, self.algorithm)

    @property
    def digest(self) -> str:
        """The digest by which a puller asks for it: the declared one where there is one."""
        declared = self.declared.get("digest")
        return declared if isinstance(declared, str) else self.content_digest

    @cached_property
    def content_diff_id(self) -> str:
        """The digest that the uncompressed archive truly has (SHA-256 whatever the blob's)."""
        return digest_of(self.tar)

    @property
    def diff_id(self) -> str:
        """What the config says: the truth, unless ``declared_diff_id`` says otherwise."""
        return self.content_diff_id if self.declared_diff_id is None else self.declared_diff_id

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor as it stands in the manifest."""
        honest: Document = {
            "mediaType": layer_type(self.compression, docker=self.docker, foreign=self.foreign),
            "digest": self.content_digest,
            "size": self.size,
        }
        if self.urls:
            honest["urls"] = list(self.urls)
        if self.annotations:
            honest["annotations"] = dict(self.annotations)
        if self.embed:
            honest["data"] = base64.b64encode(self.blob).decode()
        return Descriptor(merged(honest, self.declared))

    def salted(self, salt: str) -> "Layer":
        """The same layer with a file :data:`SALT_FILE` before all others that holds ``salt``.

        A layer without entries, or made of raw bytes, stays as it is: its bytes are its point.
        """
        if not salt or not self.entries or self.raw_tar is not None or self.raw_blob is not None:
            return self
        rest = tuple(e for e in self.entries if not (isinstance(e, File) and e.name == SALT_FILE))
        return replace(self, entries=(File(SALT_FILE, salt), *rest))

    def object(self, role: str) -> Object:
        """What the registry stores for it."""
        return Object("blob", self.digest, self.media_type, self.blob, role)


def seeded_bytes(count: int, seed: str) -> bytes:
    """``count`` bytes that don't compress, the same for the same seed (SHAKE-128)."""
    return hashlib.shake_128(seed.encode()).digest(count)


def a_layer(number: int = 0, *, size: int = 3 * 1024, **overrides: Any) -> Layer:
    """A layer such as images have: directories, files of several modes, a symbolic link.

    ``number`` makes it differ from its neighbours; all layers write ``app/version``, so that the
    order of application shows. ``size``: length in bytes of the file that doesn't compress, and
    so nearly the size of the blob. ``overrides``: fields of :class:`Layer`.
    """
    when = 1_700_000_000 + number
    entries: list[Entry] = [
        Directory("app", mtime=when),
        File("app/version", f"{number}\n", mtime=when),
        File(f"app/layer-{number}.bin", seeded_bytes(size, f"layer {number}"), mtime=when),
    ]
    if number == 0:
        entries += [
            Directory("bin", mtime=when),
            File("bin/tool", "#!/bin/sh\necho a tool\n", mode=0o755, mtime=when),
            Symlink("bin/sh", "tool", mtime=when),
            Directory("etc", mtime=when),
            File("etc/os-release", "ID=fake\nVERSION_ID=1\n", mtime=when),
            Directory("tmp", mode=0o1777, mtime=when),
        ]
    return Layer(**{"entries": tuple(entries), **overrides})
