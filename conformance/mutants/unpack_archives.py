"""Mutants that stumble over a layer's archive: what is in it, behind it, and how much of it."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from conformance.mutate import mutant
from reference.decompress import STEP, Decompressor
from reference.descriptors import Descriptor
from reference.errors import LayerError, ManifestError
from reference.layers import LayerApplier
from reference.manifests import Manifest, Manifests
from reference.pull import Puller
from reference.rootfs import Root
from reference.tar import Entry, TarReader

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

_LABEL = 4096
_DIGEST = 72
_BOUND = 64 << 20
_FOOTER = 64


class _LooksAgain(LayerApplier):
    def first_time(self, hidden: bytes) -> bool:
        """Once more can't hurt."""
        return True


@mutant(
    "looks-again-for-each-whiteout", area="unpack", kills={"incident/same-folder-hidden-many-times"}
)
class LooksAgainForEachWhiteout(Puller):
    """Goes through a whole folder for each whiteout of it, as containerd did."""

    layers = _LooksAgain


class _Bounded(LayerApplier):
    def check_size(self, total: int) -> None:
        """Nobody needs more."""
        if total > _BOUND:
            raise LayerError(f"the layer unpacks to more than {_BOUND} bytes")


@mutant("layers-of-64-mib", area="unpack", kills={"incident/layer-unpacks-a-thousandfold"})
class LayersOf64MiB(Puller):
    """Refuses a layer that unpacks to more than 64 MiB: allowed, and to be seen."""

    layers = _Bounded


class _AnyWindow(Decompressor):
    def unzstd(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Whatever the frame asks for."""
        frame = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: 31},
        )
        for chunk in chunks:
            left = chunk
            while not frame.eof:
                yield frame.decompress(left, STEP)
                left = b""
                if frame.needs_input:
                    break


class _AnyWindowLayers(LayerApplier):
    decompressor = _AnyWindow


@mutant(
    "any-zstd-window",
    area="unpack",
    kills={"incident/zstd-layer-asks-for-two-gigabytes", "unpack/zstd-layer"},
)
class AnyZstdWindow(Puller):
    """Gives a zstd frame as much memory as it asks for, and reads one frame alone."""

    layers = _AnyWindowLayers


class _UpToNonsense(LayerApplier):
    def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
        """What can't be read isn't missed."""
        try:
            return super().apply(blob, media_type, diff_id)
        except LayerError as error:
            # Which of the two it is depends on the bytes in the checksum's place.
            nonsense = re.search("wrong checksum|number field", str(error))
            if diff_id is None or not nonsense:
                raise
            return diff_id


@mutant(
    "nonsense-ends-the-layer",
    area="unpack",
    kills={"incident/layer-is-no-tar", "unpack/gzip-called-plain"},
)
class NonsenseEndsTheLayer(Puller):
    """Takes a header that is none for the end of the archive."""

    layers = _UpToNonsense


class _NeedsAMember(LayerApplier):
    def begin(self, folder: Path) -> Root:
        """None so far."""
        self._members = 0
        return super().begin(folder)

    def apply_entry(self, entry: Entry, body: Iterator[memoryview]) -> None:
        """One more."""
        self._members += 1
        super().apply_entry(entry, body)

    def read_to_end(self, reader: TarReader) -> None:
        """The end should not come so soon."""
        if not self._members:
            raise LayerError("EOF")
        super().read_to_end(reader)


@mutant(
    "layers-need-a-member",
    area="unpack",
    kills={"incident/empty-archives", "incident/layer-of-no-bytes"},
)
class LayersNeedAMember(Puller):
    """Fails at a layer in which nothing is."""

    layers = _NeedsAMember


class _NoPadding(Decompressor):
    def gunzip(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Behind a member comes a member, or the end."""
        tail = b""

        def watched() -> Iterator[bytes]:
            nonlocal tail
            for chunk in chunks:
                tail = (tail + chunk)[-16:]
                yield chunk

        yield from super().gunzip(watched())
        if tail == bytes(16):
            raise LayerError("gzip: invalid header")


class _NoPaddingLayers(LayerApplier):
    decompressor = _NoPadding


@mutant("no-gzip-padding", area="unpack", kills={"incident/zeros-behind-a-gzip-layer"})
class NoGzipPadding(Puller):
    """Refuses zeros behind a gzip stream, as Go does."""

    layers = _NoPaddingLayers


class _OneLabel(Manifests):
    def image(self, document: Mapping[str, Any], descriptor: Descriptor) -> Manifest:
        """All digests have to go into one label."""
        manifest = super().image(document, descriptor)
        if len(manifest.layers) * _DIGEST > _LABEL:
            raise ManifestError("label key and value greater than maximum size (4096 bytes)")
        return manifest


@mutant("layers-fit-a-label", area="unpack", kills={"incident/image-of-127-layers"})
class LayersFitALabel(Puller):
    """Refuses an image of more than 56 layers."""

    manifests = _OneLabel


class _ReadsTheTable(LayerApplier):
    known: Mapping[bytes, int] = MappingProxyType({})

    def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
        """Look for a table first."""
        self.known = _table(blob) if isinstance(blob, Path) else {}
        return super().apply(blob, media_type, diff_id)

    def apply_entry(self, entry: Entry, body: Iterator[memoryview]) -> None:
        """The table knows better."""
        mode = self.known.get(entry.name, entry.mode)
        super().apply_entry(replace(entry, mode=mode), body)


def _table(blob: Path) -> dict[bytes, int]:
    """The modes that zstd:chunked's table of contents gives; empty where there is none."""
    with blob.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _FOOTER:
            return {}
        file.seek(-_FOOTER, os.SEEK_END)
        footer = file.read(_FOOTER)
        if not footer.endswith(b"GNUlInUx"):
            return {}
        position, length = struct.unpack_from("<2Q", footer)
        file.seek(position)
        document = json.loads(zstd.decompress(file.read(length)))
    return {
        each["name"].encode(): each["mode"]
        for each in document["entries"]
        if each.get("type") == "reg" and "mode" in each
    }


@mutant("reads-the-table", area="unpack", kills={"incident/table-of-contents-lies"})
class ReadsTheTable(Puller):
    """Believes a layer's table of contents more than its archive."""

    layers = _ReadsTheTable
