"""Mutants that misread layers as a whole: their compression, their digests, and the config."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from conformance.mutate import mutant
from reference.decompress import Compression, Decompressor
from reference.descriptors import Descriptor
from reference.errors import LayerError, ManifestError
from reference.layers import LayerApplier
from reference.manifests import ImageConfig, Manifest, Manifests
from reference.pull import Puller
from reference.snapshots import Snapshots
from reference.store import Store
from reference.tar import TarReader


class _PlainIsGzip(Decompressor):
    def compression(self, media_type: str, head: bytes) -> Compression:
        """A type without a suffix is what all layers are."""
        return "gzip" if media_type.endswith(".tar") else super().compression(media_type, head)


class _PlainIsGzipLayers(LayerApplier):
    decompressor = _PlainIsGzip


@mutant(
    "plain-is-gzip",
    area="unpack",
    kills={
        "incident/layer-type-hides-gzip",
        "incident/schema1-layers-are-plain-tar",
        "unpack/docker-layer-types",
        "unpack/gzip-called-plain",
        "unpack/plain-and-gzip-layers",
    },
)
class PlainIsGzip(Puller):
    """Takes a layer without compression for gzip."""

    layers = _PlainIsGzipLayers


class _LooksOnly(Decompressor):
    def compression(self, media_type: str, head: bytes) -> Compression:
        """The bytes decide, whatever the type says, and what isn't known is plain."""
        return self.sniff(head)


class _LooksOnlyLayers(LayerApplier):
    decompressor = _LooksOnly


@mutant(
    "believes-bytes-alone",
    area="unpack",
    kills={
        "incident/layer-type-hides-gzip",
        "unpack/gzip-called-plain",
    },
)
class BelievesBytesAlone(Puller):
    """Looks for the compression in a layer's bytes alone."""

    layers = _LooksOnlyLayers


class _WithoutZstd(Decompressor):
    def unzstd(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Nobody here can."""
        raise LayerError("zstd can't be unpacked")


class _WithoutZstdLayers(LayerApplier):
    decompressor = _WithoutZstd


@mutant(
    "no-zstd",
    area="unpack",
    kills={
        "incident/docker-zstd-layer",
        "unpack/zstd-layer",
    },
)
class NoZstd(Puller):
    """Can't unpack zstd."""

    layers = _WithoutZstdLayers


class _OCIOnly(Decompressor):
    def compression(self, media_type: str, head: bytes) -> Compression:
        """Docker's types aren't in image-spec's list."""
        if media_type.startswith("application/vnd.docker."):
            raise LayerError(f"layers of type {media_type} can't be unpacked")
        return super().compression(media_type, head)


class _OCIOnlyLayers(LayerApplier):
    decompressor = _OCIOnly


@mutant(
    "no-docker-layer-types",
    area="unpack",
    kills={
        "incident/config-is-octet-stream",
        "incident/docker-zstd-layer",
        "incident/schema1-layers-are-plain-tar",
        "incident/schema1-unsigned",
        "unpack/docker-layer-types",
    },
)
class NoDockerLayerTypes(Puller):
    """Knows OCI's layer types alone."""

    layers = _OCIOnlyLayers


class _FirstMember(Decompressor):
    def gunzip(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """One decompressor, one member."""
        yield zlib.decompressobj(wbits=31).decompress(b"".join(chunks))


class _FirstMemberLayers(LayerApplier):
    decompressor = _FirstMember


@mutant(
    "first-gzip-member-alone",
    area="unpack",
    kills={
        "incident/bytes-behind-a-gzip-layer",
        "incident/gzip-in-many-members",
        "unpack/gzip-of-several-members",
    },
)
class FirstGzipMemberAlone(Puller):
    """Takes the end of the first gzip member for the end of the layer."""

    layers = _FirstMemberLayers


class _EndsAtTheMarker(LayerApplier):
    def read_to_end(self, reader: TarReader) -> None:
        """What follows the archive's end isn't part of the archive."""


@mutant("hashes-up-to-the-marker", area="unpack", kills={"unpack/padding-counts-for-the-diff-id"})
class HashesUpToTheMarker(Puller):
    """Hashes a layer as far as the end of its archive, and not the padding behind."""

    layers = _EndsAtTheMarker


class _HalfWillDo(LayerApplier):
    def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
        """What came before the end is better than nothing."""
        try:
            return super().apply(blob, media_type, diff_id)
        except LayerError as error:
            if diff_id is None or "cut short" not in str(error):
                raise
            return diff_id


@mutant(
    "half-a-layer-will-do",
    area="unpack",
    kills={"unpack/truncated-gzip-is-refused", "unpack/truncated-tar-is-refused"},
)
class HalfALayerWillDo(Puller):
    """Keeps what a truncated layer gave until it ended."""

    layers = _HalfWillDo


class _AnyDiffID(LayerApplier):
    def check_diff_id(self, expected: str, actual: str) -> None:
        """The blob's digest was right: that has to do."""


@mutant("no-diff-id-check", area="unpack", kills={"unpack/swapped-diff-ids-are-refused"})
class NoDiffIDCheck(Puller):
    """Doesn't compare a layer with the config's diffID."""

    layers = _AnyDiffID


class _Counted(Manifests):
    def config(self, data: bytes, manifest: Manifest) -> ImageConfig:
        """As many layers as there are diffIDs: the rest isn't asked for."""
        diff_ids = self.parse(data, manifest.config.digest)["rootfs"]["diff_ids"]
        return super().config(data, _first(manifest, len(diff_ids)))


class _CountedSnapshots(Snapshots):
    def apply(
        self,
        folder: Path,
        store: Store,
        manifest: Manifest,
        config: ImageConfig,
        wait: Callable[[Descriptor], None],
        check: Callable[[], None],
    ) -> None:
        """Apply what the config counts."""
        few = _first(manifest, len(config.diff_ids))
        super().apply(folder, store, few, config, wait, check)


def _first(manifest: Manifest, count: int) -> Manifest:
    return replace(manifest, layers=manifest.layers[:count])


@mutant("uncounted-layers-are-left-out", area="unpack", kills={"unpack/missing-diff-id-is-refused"})
class UncountedLayersAreLeftOut(Puller):
    """Leaves out the layers for which the config has no diffID."""

    manifests = _Counted
    snapshots = _CountedSnapshots


class _SkipsUnknown(LayerApplier):
    def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
        """What can't be unpacked is somebody else's business."""
        try:
            return super().apply(blob, media_type, diff_id)
        except LayerError as error:
            if diff_id is None or "can't be unpacked" not in str(error):
                raise
            return diff_id


@mutant(
    "unknown-compression-is-left-out",
    area="unpack",
    kills={"unpack/unknown-compression-is-refused"},
)
class UnknownCompressionIsLeftOut(Puller):
    """Leaves out a layer whose compression it doesn't know."""

    layers = _SkipsUnknown


class _AnyLayerType(Manifests):
    def check_layer_type(self, layer: Descriptor) -> None:
        """Whoever made the manifest will know."""


@mutant(
    "unknown-layers-are-left-out",
    area="unpack",
    kills={
        "unpack/layer-of-unknown-type",
        "unpack/unknown-compression-is-refused",
        "unpack/unknown-layer-type-is-refused",
    },
)
class UnknownLayersAreLeftOut(Puller):
    """Claims success for an image with layers of a type that it can't unpack."""

    manifests = _AnyLayerType
    layers = _SkipsUnknown


class _AnyRootfs(Manifests):
    def check_rootfs_type(self, kind: object, digest: str) -> None:
        """There is only one kind anyway."""


@mutant("any-rootfs-type", area="unpack", kills={"unpack/unknown-rootfs-type-is-refused"})
class AnyRootfsType(Puller):
    """Doesn't look at the config's `rootfs.type`."""

    manifests = _AnyRootfs


class _AnyConfig(Manifests):
    def config(self, data: bytes, manifest: Manifest) -> ImageConfig:
        """What can't be read says nothing."""
        try:
            return super().config(data, manifest)
        except ManifestError as error:
            if "is not JSON" not in str(error):
                raise
            return ImageConfig({}, ())


@mutant(
    "config-need-not-be-json", area="unpack", kills={"unpack/config-that-is-no-json-is-refused"}
)
class ConfigNeedNotBeJSON(Puller):
    """Claims success with nothing unpacked where the config can't be read."""

    manifests = _AnyConfig
    snapshots = _CountedSnapshots
