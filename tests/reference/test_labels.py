"""What snapshotters are told of layers: the four annotations, their limit, and whom to believe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from crashing import can_mount

from fakeregistry import (
    File,
    Image,
    ImageSpec,
    Layer,
    Registries,
    Registry,
    an_image,
    an_index,
)
from reference.cli import main
from reference.compat import Quirks
from reference.config import Config, Request
from reference.descriptors import OCI_CONFIG, OCI_LAYER, Descriptor
from reference.errors import ManifestError, StoreError
from reference.labels import (
    IMAGE_LAYERS,
    IMAGE_REF,
    LARGEST_LABEL,
    LAYER_DIGEST,
    MANIFEST_DIGEST,
    PREFIX,
    SNAPSHOT_REF,
    annotated,
    bare,
    labels_of,
    listed,
)
from reference.manifests import Manifest
from reference.pull import Puller
from reference.settings import load_config
from reference.snapshots import chain_id

AMD64 = "linux/amd64"
FOREIGN = {PREFIX + "stargz/toc.digest": "sha256:1", "org.example/other": "x"}


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("labels") as registries:
        yield registries.registry()


def layers(number: int, algorithm: str = "sha256") -> tuple[Descriptor, ...]:
    return tuple(Descriptor.of(OCI_LAYER, b"%d" % n, algorithm) for n in range(number))


def manifest(*of: Descriptor) -> Manifest:
    return Manifest(Descriptor.of(OCI_CONFIG, b"config"), of)


def test_each_layer_gets_four_annotations_and_the_manifest_stays_as_it_is() -> None:
    """ANN-01, ANN-02, ANN-03, ANN-05, Q-22: one map that layers share isn't changed."""
    shared = {IMAGE_REF: "a lie", "org.example/other": "x"}
    made = manifest(*(replace(layer, annotations=shared) for layer in layers(3)))
    digests = [layer.digest for layer in made.layers]
    found = [layer.annotations for layer in annotated(made, "name:tag", "sha256:manifest").layers]
    assert found == [
        {
            "org.example/other": "x",
            IMAGE_REF: "name:tag",
            MANIFEST_DIGEST: "sha256:manifest",
            LAYER_DIGEST: digests[number],
            IMAGE_LAYERS: ",".join(digests[number:]),
        }
        for number in range(3)
    ]
    assert shared == {IMAGE_REF: "a lie", "org.example/other": "x"}


def test_what_isnt_a_layer_is_neither_told_nor_told_of() -> None:
    other = Descriptor.of("application/vnd.example.other", b"other")
    (first, second, third) = annotated(
        manifest(layers(2)[0], other, layers(2)[1]), "n", "sha256:m"
    ).layers
    assert first.annotations[IMAGE_LAYERS] == f"{first.digest},{third.digest}"
    assert second.annotations == {}


@pytest.mark.parametrize(("algorithm", "fit"), [("sha256", 56), ("sha512", 29)])
def test_the_list_of_layers_ends_where_a_label_is_full(algorithm: str, fit: int) -> None:
    """ANN-04: whole digests only."""
    many = layers(200, algorithm)
    value = listed(many)
    assert value.split(",") == [layer.digest for layer in many[:fit]]
    assert len(IMAGE_LAYERS) + len(value) <= LARGEST_LABEL


def test_the_list_ends_at_the_first_that_doesnt_fit() -> None:
    """Q-23: a shorter digest after it would fit, and is left out as in containerd."""
    assert listed([*layers(55), *layers(1, "sha512"), *layers(56)[55:]]) == listed(layers(55))


def test_what_fits_a_label_exactly_is_one_and_what_is_longer_is_refused() -> None:
    """ANN-06, ANN-08."""
    (layer,) = layers(1)
    key = PREFIX + "x"
    value = "ä" * ((LARGEST_LABEL - len(key)) // 2)
    value += "y" * (LARGEST_LABEL - len(key) - len(value.encode()))
    fitting = {key: value, SNAPSHOT_REF: "sha256:x", "containerd.io/snapshots": "no label"}
    labels = labels_of(replace(layer, annotations=fitting))
    assert labels == {key: value, SNAPSHOT_REF: "sha256:x"}
    with pytest.raises(ManifestError, match="too long for a label"):
        labels_of(replace(layer, annotations={key: value + "y"}))


def test_what_isnt_a_label_outlives_distrust() -> None:
    (layer,) = layers(1)
    (left,) = bare(manifest(replace(layer, annotations=FOREIGN))).layers
    assert left.annotations == {"org.example/other": "x"}


# In a pull.


Pulling = Callable[..., list[dict[str, str]]]


@pytest.fixture(params=["native", "overlayfs"])
def pulling(request: pytest.FixtureRequest, tmp_path: Path) -> Pulling:
    """Pulls, and returns the labels of the image's snapshots, the top one's last."""
    if request.param == "overlayfs" and (why := can_mount(tmp_path / "probe")):
        pytest.skip(why)

    def pulled(image: Image, name: str = "", **settings: object) -> list[dict[str, str]]:
        config = Config(platform=AMD64, trust_env=False, snapshotter=request.param)
        puller = Puller(replace(config, **settings), tmp_path / "store")  # type: ignore[arg-type]
        name = puller.pull(Request(name or image.reference)).name
        found = puller.here(name, None)
        read = puller.manifests().config(puller.read(found.manifest.config), found.manifest)
        labels = puller.unpacked.labels(read.diff_ids)
        assert labels[-1][SNAPSHOT_REF] == chain_id(read.diff_ids)
        assert len(labels) == (2 if request.param == "overlayfs" else 1)
        return [{k: v for k, v in each.items() if k != SNAPSHOT_REF} for each in labels]

    return pulled


def an_annotated_image() -> ImageSpec:
    made = [Layer((File(f"file{n}", "x"),), annotations=FOREIGN) for n in range(2)]
    return an_image(made, platform=AMD64)


def test_snapshots_have_no_labels_by_default(registry: Registry, pulling: Pulling) -> None:
    """ANN-09; and ANN-07: a manifest's own annotations are nobody's instructions."""
    assert not any(pulling(registry.add(an_annotated_image())))


def test_containerd_believes_the_manifest(registry: Registry, pulling: Pulling) -> None:
    """ANN-07, by the quirk."""
    labels = pulling(registry.add(an_annotated_image()), quirks=Quirks(manifest_labels=True))
    assert labels[-1] == {PREFIX + "stargz/toc.digest": "sha256:1"}


def test_snapshots_have_the_labels_of_their_layers(registry: Registry, pulling: Pulling) -> None:
    """ANN-01, ANN-02, ANN-05, ANN-10: the platform's manifest, and nothing of the index."""
    image = an_annotated_image()
    index = registry.add(an_index(image, an_image(1, platform="linux/s390x")))
    labels = pulling(index, disable_snapshot_annotations=False)
    top = image.layers[-1].digest
    assert labels[-1] == {
        PREFIX + "stargz/toc.digest": "sha256:1",
        IMAGE_REF: index.reference,
        MANIFEST_DIGEST: image.digest,
        LAYER_DIGEST: top,
        IMAGE_LAYERS: top,
    }
    assert labels[0][IMAGE_LAYERS].endswith(top)
    # The first to make a snapshot says what it is called.
    again = pulling(index, f"{index.name}@{index.digest}", disable_snapshot_annotations=False)
    assert again == labels


def test_labels_are_shown_kept_and_collected_with_their_snapshot(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = registry.add(an_image(2, platform=AMD64))
    file = tmp_path / "config.toml"
    file.write_text(
        '[plugins."io.containerd.grpc.v1.cri".containerd]\ndisable_snapshot_annotations = false\n'
    )
    assert load_config(file).disable_snapshot_annotations is False
    root = tmp_path / "store"
    options = ["--root", str(root), "--platform", AMD64]
    assert main(["pull", "-q", *options, "--config", str(file), image.reference]) == 0
    capsys.readouterr()
    assert main(["inspect", *options, image.reference]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["snapshots"]["native"]["labels"]
    assert shown[IMAGE_REF] == image.reference
    assert main(["gc", "--root", str(root)]) == 0
    (left,) = (root / "snapshots").glob("*.labels")
    left.write_text("{")
    puller = Puller(Config(platform=AMD64), root)
    with pytest.raises(StoreError, match="is damaged"):
        puller.unpacked.labels([left.name.removesuffix(".labels").replace("-", ":")])
    assert main(["rm", "--root", str(root), image.reference]) == 0
    (root / "snapshots" / ".labels.new-left").write_text("of a killed pull")
    puller.collect()
    assert list((root / "snapshots").iterdir()) == []


def test_labels_of_a_snapshot_that_is_gone_arent_the_next_ones(
    registry: Registry, tmp_path: Path
) -> None:
    image = registry.add(an_image(1, platform=AMD64))
    for off in (False, True):
        config = Config(platform=AMD64, trust_env=False, disable_snapshot_annotations=off)
        rootfs = Puller(config, tmp_path).pull(Request(image.reference)).rootfs
        assert rootfs is not None
        assert rootfs.with_name(f"{rootfs.name}.labels").exists() is not off
        rootfs.rename(tmp_path / f"gone-{off}")
