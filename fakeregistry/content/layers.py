"""A layer: entries, their tar, the compressed blob, and what its descriptor says of it."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from .compression import compressed, wide_zstd
from .corruption import Corruption, corrupted
from .data import Buffer, Data, Generated, bytes_of, gathered, sha256_of, slices
from .descriptors import Algorithm, Descriptor, Document, Object, digest_of, merged
from .encryption import EncryptionLie, LayerKey, encrypted
from .entries import Directory, Entry, File, Symlink
from .estargz import estargz
from .mediatypes import CODEC, Compression, layer_type
from .tar import Format, tar_parts
from .toc import Packed, TocLie
from .zstdchunked import zstd_chunked

Embedded = Literal["good", "wrong", "truncated", "huge"]
"""What a descriptor's ``data`` holds: the blob, other bytes of its length, half of it, 10 MiB."""
EMBEDDED: tuple[Embedded, ...] = ("good", "wrong", "truncated", "huge")

SALT_FILE = "salt"
"""The file at the root of a salted layer that makes its bytes its own."""
BIG = 8 << 20
"""From this size on a layer's file is made in slices."""

_HUGE = 10 << 20


@dataclass(frozen=True)
class Layer:
    """One layer of an image. Frozen: change it with :func:`dataclasses.replace`.

    Honest by default; each lie has its own field:

    ``raw_tar`` / ``raw_blob``
        these bytes instead of the written tar / of the compressed stream.
    ``tar_cut`` / ``tar_trailing``
        the archive ends at this offset / has these bytes after its end.
    ``trailing``
        bytes after the compressed stream.
    ``corrupt``
        the compressed stream is broken in one place.
    ``cut``
        the blob ends at this offset (negative: counted from its end); digest and size are those
        of the cut blob, so only the decompressor can notice.
    ``members``
        the compressed stream is made of so many gzip members or zstd frames.
    ``window``
        one zstd frame that asks for a window of two to the power of this (zstd alone).
    ``toc_lie``
        what is false in the table of contents of eStargz or zstd:chunked.
    ``encrypted`` / ``encryption_lie``
        the blob is encrypted for this key / what is false about that.
    ``declared``
        keys put over the descriptor (``size``, ``digest``, ``mediaType``, …; ``OMIT`` drops one).
    ``declared_diff_id``
        what the config says of this layer instead of the truth.
    ``counted``
        False: the config has no diff_id for this layer.
    ``served``
        False: the registry doesn't have the blob.
    ``salt_raw``
        salt is appended to ``raw_blob``, which otherwise stays as it is.
    ``docker`` follows the image that holds the layer.
    """

    entries: tuple[Entry, ...] = ()
    compression: Compression = "gzip"
    docker: bool = False
    foreign: bool = False
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    embed: bool | Embedded = False
    """The descriptor carries the blob itself in ``data`` (image-spec, descriptor.md), or a lie."""
    algorithm: Algorithm = "sha256"
    form: Format = "pax"
    members: int = 1
    level: int | None = None
    window: int | None = None
    raw_tar: Buffer | None = field(default=None, repr=False)
    raw_blob: Buffer | None = field(default=None, repr=False)
    salt_raw: bool = False
    tar_cut: int | None = None
    tar_trailing: bytes = field(default=b"", repr=False)
    trailing: bytes = field(default=b"", repr=False)
    corrupt: Corruption | None = None
    cut: int | None = None
    toc_lie: TocLie | None = None
    encrypted: LayerKey | None = None
    encryption_lie: EncryptionLie | None = None
    declared: Mapping[str, Any] = field(default_factory=dict, hash=False)
    declared_diff_id: str | None = None
    counted: bool = True
    served: bool = True

    def __post_init__(self) -> None:
        # A list is what one writes; a tuple is what can be frozen.
        object.__setattr__(self, "entries", tuple(self.entries))
        object.__setattr__(self, "urls", tuple(self.urls))

    @cached_property
    def tar(self) -> Buffer:
        """The uncompressed archive, whose digest is the diff_id; a mapped file if it is large."""
        return gathered(slices(self._tar_parts))

    @cached_property
    def blob(self) -> Buffer:
        """The bytes that the registry serves; a mapped file if they are many."""
        return self._sealed[0]

    @property
    def unpacked(self) -> tuple[Entry, ...]:
        """The entries that come out of the blob: eStargz puts two of its own beside the layer's."""
        added = self._packed.added if self.compression == "estargz" else ()
        return (*self.entries, *added)

    @cached_property
    def _tar_parts(self) -> Sequence[Data]:
        if self.raw_tar is None and self.compression == "estargz":
            return self._packed.parts
        parts: Sequence[Data] = (
            tar_parts(self.entries, self.form) if self.raw_tar is None else [self.raw_tar]
        )
        if self.tar_cut is not None:
            whole = gathered(slices(parts))
            parts = [whole[: self.tar_cut]]
        return [*parts, self.tar_trailing]

    @cached_property
    def _packed(self) -> Packed:
        if self.raw_blob is not None:
            return Packed(self.raw_blob, ())
        if self.raw_tar is None and self.compression in ("estargz", "zstd:chunked"):
            if self.tar_cut is not None or self.tar_trailing:
                raise ValueError(f"{self.compression} holds a whole archive and nothing else")
            make = estargz if self.compression == "estargz" else zstd_chunked
            return make(self.entries, form=self.form, level=self.level, lie=self.toc_lie)
        parts = self._tar_parts
        if self.window is not None:
            return Packed(gathered(wide_zstd(parts, self.window)), parts)
        stream = compressed(
            parts,
            CODEC[self.compression],
            members=self.members,
            level=self.level,
            checksum=self.corrupt == "checksum",
        )
        return Packed(gathered(stream), parts)

    @cached_property
    def _sealed(self) -> tuple[Buffer, dict[str, str]]:
        """The blob, and the annotations that its form needs."""
        blob, annotations = self._packed.blob, self._packed.annotations
        if self.corrupt is not None:
            blob = corrupted(blob, self.corrupt, CODEC[self.compression])
        if self.trailing:
            blob = gathered(slices([blob, self.trailing]))
        if self.cut is not None:
            blob = blob[: self.cut]
        if self.encrypted is not None:
            blob, keys = encrypted(blob, self.encrypted, self.encryption_lie)
            annotations = {**annotations, **keys}
        return blob, annotations

    @property
    def honest_type(self) -> str:
        """The media type that fits the blob's form."""
        return layer_type(
            self.compression,
            docker=self.docker,
            foreign=self.foreign,
            encrypted=self.encrypted is not None,
        )

    @property
    def media_type(self) -> str:
        """What the descriptor calls it: by its compression, unless declared otherwise."""
        declared = self.declared.get("mediaType")
        if isinstance(declared, str):
            return declared
        return self.honest_type

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
        return f"sha256:{sha256_of(*self._tar_parts)}"

    @property
    def diff_id(self) -> str:
        """What the config says: the truth, unless ``declared_diff_id`` says otherwise."""
        return self.content_diff_id if self.declared_diff_id is None else self.declared_diff_id

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor as it stands in the manifest."""
        honest: Document = {
            "mediaType": self.honest_type,
            "digest": self.content_digest,
            "size": self.size,
        }
        if self.urls:
            honest["urls"] = list(self.urls)
        annotations = {**self._sealed[1], **self.annotations}
        if annotations:
            honest["annotations"] = annotations
        if self.embed:
            honest["data"] = embedded(self.blob, self.embed)
        return Descriptor(merged(honest, self.declared))

    def salted(self, salt: str) -> "Layer":
        """The same layer with a file :data:`SALT_FILE` before all others that holds ``salt``.

        A layer without entries, or made of raw bytes, stays as it is: its bytes are its point.
        """
        if salt and self.salt_raw and self.raw_blob is not None:
            line = f"\n{SALT_FILE}: ".encode()
            raw = bytes(self.raw_blob).partition(line)[0] + line + salt.encode()
            return replace(self, raw_blob=raw, raw_tar=None if self.raw_tar is None else raw)
        if not salt or not self.entries or self.raw_tar is not None or self.raw_blob is not None:
            return self
        rest = tuple(e for e in self.entries if not (isinstance(e, File) and e.name == SALT_FILE))
        return replace(self, entries=(File(SALT_FILE, salt), *rest))

    def object(self, role: str) -> Object:
        """What the registry stores for it."""
        return Object("blob", self.digest, self.media_type, self.blob, role)


def embedded(content: Buffer, how: bool | Embedded) -> str:
    """A descriptor's ``data`` for this content: the truth for True and ``good``."""
    data = content
    if how == "wrong":
        data = Generated(len(content), "other data")[:]
    elif how == "truncated":
        data = content[: len(content) // 2]
    elif how == "huge":
        data = Generated(_HUGE, "much data")[:]
    return base64.b64encode(data).decode()


def seeded_bytes(count: int, seed: str) -> bytes:
    """``count`` bytes that don't compress, the same for the same seed (SHAKE-128)."""
    return hashlib.shake_128(seed.encode()).digest(count)


def a_layer(number: int = 0, *, size: int | str = 3 * 1024, **overrides: Any) -> Layer:
    """A layer such as images have: directories, files of several modes, a symbolic link.

    ``number`` makes it differ from its neighbours; all layers write ``app/version``, so that the
    order of application shows. ``size`` (4096 or ``"2GiB"``): length in bytes of the file that
    doesn't compress, and so nearly the size of the blob; from 8 MiB on, the file exists in slices
    alone and gzip only stores it, which takes a second a GiB. ``overrides``: fields of
    :class:`Layer`.
    """
    when = 1_700_000_000 + number
    count = bytes_of(size)
    content: Data
    if count < BIG:
        content = seeded_bytes(count, f"layer {number}")
    else:
        content = Generated(count, f"layer {number}")
        if overrides.get("compression", "gzip") == "gzip":
            overrides.setdefault("level", 0)
    entries: list[Entry] = [
        Directory("app", mtime=when),
        File("app/version", f"{number}\n", mtime=when),
        File(f"app/layer-{number}.bin", content, mtime=when),
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
