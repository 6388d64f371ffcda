"""Labels of snapshots: what a snapshotter is told of a layer beside its content.

One that fetches by itself (stargz) finds by them where a layer comes from. They begin as
annotations of the layers' descriptors, in memory only, and what has the right prefix becomes a
label of the snapshot (containerd `pkg/snapshotters`, `FilterInheritedLabels`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reference.descriptors import Descriptor, is_layer_type
from reference.errors import ManifestError
from reference.manifests import Manifest

PREFIX = "containerd.io/snapshot/"
IMAGE_REF = PREFIX + "cri.image-ref"
MANIFEST_DIGEST = PREFIX + "cri.manifest-digest"
LAYER_DIGEST = PREFIX + "cri.layer-digest"
IMAGE_LAYERS = PREFIX + "cri.image-layers"
SNAPSHOT_REF = "containerd.io/snapshot.ref"
"""The chain id, which every snapshot has for a label."""
LARGEST_LABEL = 4096
"""Bytes of a key and its value together."""


def annotated(manifest: Manifest, name: str, digest: str) -> Manifest:
    """`manifest` with what the seed's appendInfoHandlerWrapper says of each layer (ANN-01).

    Other annotations stay, and these four are always ours (ANN-05); nothing is changed in place
    (Q-22). `name` is the normalised reference, `digest` the platform manifest's (ANN-02).
    """
    layers = manifest.layers
    return replace(
        manifest,
        layers=tuple(
            _with(
                layer,
                {
                    IMAGE_REF: name,
                    MANIFEST_DIGEST: digest,
                    LAYER_DIGEST: layer.digest,
                    IMAGE_LAYERS: listed(layers[number:]),
                },
            )
            if is_layer_type(layer.media_type)
            else layer
            for number, layer in enumerate(layers)
        ),
    )


def _with(layer: Descriptor, more: Mapping[str, str]) -> Descriptor:
    return replace(layer, annotations={**layer.annotations, **more})


def listed(layers: Iterable[Descriptor]) -> str:
    """The digests of the layers as one label: it ends with the last that fits (ANN-04, Q-23)."""
    found = ""
    for layer in layers:
        if not is_layer_type(layer.media_type):
            continue
        longer = f"{found},{layer.digest}" if found else layer.digest
        if len(IMAGE_LAYERS) + len(longer) > LARGEST_LABEL:
            break
        found = longer
    return found


def bare(manifest: Manifest) -> Manifest:
    """`manifest` without the annotations that would become labels: it isn't trusted with them."""
    return replace(
        manifest,
        layers=tuple(
            replace(
                layer,
                annotations={
                    key: value for key, value in layer.annotations.items() if not is_label(key)
                },
            )
            for layer in manifest.layers
        ),
    )


def is_label(key: str) -> bool:
    """Whether an annotation of this name becomes a label of the snapshot (ANN-06)."""
    return key.startswith(PREFIX) or key == SNAPSHOT_REF


def labels_of(layer: Descriptor) -> dict[str, str]:
    """The labels of the snapshot that `layer` makes; ManifestError for one that is too long."""
    labels = {key: value for key, value in layer.annotations.items() if is_label(key)}
    for key, value in labels.items():
        if len(f"{key}{value}".encode()) > LARGEST_LABEL:
            raise ManifestError(
                f"annotation {key[:64]} of layer {layer.digest} is too long for a label"
            )
    return labels
