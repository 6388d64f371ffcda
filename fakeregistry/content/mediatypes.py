"""Media types that a registry hands out, by the names the specifications give them.

Sources: OCI image-spec ``media-types.md``, Docker's manifest v2 schema 1 and schema 2 documents.
"""

from typing import Literal

Codec = Literal["gzip", "none", "zstd", "xz", "bz2"]
Compression = Literal["gzip", "none", "zstd", "xz", "bz2", "estargz", "zstd:chunked"]
"""A codec, or one of the two forms that let a client fetch single files of a layer."""

CODEC: dict[Compression, Codec] = {
    "none": "none",
    "gzip": "gzip",
    "zstd": "zstd",
    "xz": "xz",
    "bz2": "bz2",
    "estargz": "gzip",
    "zstd:chunked": "zstd",
}
"""What a reader that knows nothing of files has to undo."""

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_NONDISTRIBUTABLE_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"

SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_UNSIGNED = "application/vnd.docker.distribution.manifest.v1+json"

IN_TOTO = "application/vnd.in-toto+json"
OCTET_STREAM = "application/octet-stream"

_SUFFIX: dict[bool, dict[Codec, str]] = {
    # Docker writes '.tar.gzip', OCI writes '.tar+gzip'. Neither names xz and bz2: they get the form
    # that an extension would have, so that a puller meets a compression that it can't know.
    False: {"none": "", "gzip": "+gzip", "zstd": "+zstd", "xz": "+xz", "bz2": "+bz2"},
    True: {"none": "", "gzip": ".gzip", "zstd": ".zstd", "xz": ".xz", "bz2": ".bz2"},
}


def layer_type(
    compression: Compression,
    *,
    docker: bool = False,
    foreign: bool = False,
    encrypted: bool = False,
) -> str:
    """The honest media type of a layer tar with this compression.

    ``encrypted``: ocicrypt's suffix, which exists for OCI's types only (ocicrypt, ``spec.go``).
    """
    if docker:
        base = DOCKER_FOREIGN_LAYER if foreign else DOCKER_LAYER
    else:
        base = OCI_NONDISTRIBUTABLE_LAYER if foreign else OCI_LAYER
    return base + _SUFFIX[docker][CODEC[compression]] + ("+encrypted" if encrypted else "")
