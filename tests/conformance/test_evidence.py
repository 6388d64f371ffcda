"""Layouts, stores and archives: right ones are believed, and each way to be wrong is told."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from conformance.contract import HarnessError
from conformance.evidence import Archive, Layout, mislabelled
from fakeregistry import ImageSpec, an_image, an_index


def put(blobs: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    (blobs / "sha256").mkdir(parents=True, exist_ok=True)
    (blobs / "sha256" / digest).write_bytes(data)
    return f"sha256:{digest}"


def fill(blobs: Path, image: ImageSpec, *, layers: bool = True) -> str:
    for layer in image.layers if layers else ():
        put(blobs, layer.blob)
    put(blobs, image.config)
    return put(blobs, image.manifest)


def index_json(folder: Path, *entries: tuple[str, str | None]) -> None:
    manifests = [
        {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": name}}
        if name
        else {"digest": digest}
        for digest, name in entries
    ]
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


@pytest.fixture
def image() -> ImageSpec:
    return an_image(2, salt="evidence")


def test_a_right_layout(tmp_path: Path, image: ImageSpec) -> None:
    index_json(tmp_path, (fill(tmp_path / "blobs", image), None))
    layout = Layout.of_directory(tmp_path, "any/name:at-all")
    assert layout is not None
    assert layout.verify() == []
    assert layout.root == layout.manifest_digest == image.digest
    assert layout.config_digest == image.image_id
    assert layout.layer_digests == [layer.digest for layer in image.layers]
    assert mislabelled(tmp_path / "blobs") == []


def test_each_wrong_is_told(tmp_path: Path, image: ImageSpec) -> None:
    layout = Layout.of_store(tmp_path, fill(tmp_path, image))
    layer = layout.path(image.layers[1].digest)
    right = layer.read_bytes()

    layer.write_bytes(right[:100])
    (line,) = layout.verify()
    assert f"100 bytes, the descriptor says {len(right)}" in line

    layer.write_bytes(bytes([right[0] ^ 1]) + right[1:])
    (line,) = layout.verify()
    assert line.startswith("layer 1 ")
    assert "have the digest" in line
    (line,) = mislabelled(tmp_path)
    assert image.layers[1].digest in line

    layer.unlink()
    assert layout.verify() == [f"layer 1 {image.layers[1].digest}: missing"]

    layout.path(image.digest).unlink()
    assert layout.verify() == [f"root {image.digest}: missing"]
    assert not layout.has(image.digest)


def test_below_an_index_one_image_is_enough(tmp_path: Path) -> None:
    ours, other = an_image(1, salt="a"), an_image(1, salt="b", platform="linux/arm64")
    index = an_index(other, ours)
    root = put(tmp_path, index.index)
    layout = Layout.of_store(tmp_path, root)
    assert layout.verify() == [f"{root}: no image manifest below it is present"]

    # Some pullers keep manifest and config of the platforms that they don't pull.
    fill(tmp_path, other, layers=False)
    assert layout.verify() == [f"layer 0 {other.layers[0].digest}: missing"]
    assert layout.images == []

    fill(tmp_path, ours)
    assert layout.verify() == []
    assert layout.images == [ours.digest]
    assert layout.manifest_digest == ours.digest


def test_references_in_a_layout(tmp_path: Path, image: ImageSpec) -> None:
    assert Layout.of_directory(tmp_path, "a") is None
    newer = an_image(1, salt="newer")
    first, second = fill(tmp_path / "blobs", image), fill(tmp_path / "blobs", newer)
    index_json(tmp_path, (first, "a"), (first, "b"), (second, "a"))
    found = Layout.of_directory(tmp_path, "a")
    assert found is not None
    assert found.root == second
    assert Layout.of_directory(tmp_path, "c") is None
    (tmp_path / "index.json").write_text("[")
    with pytest.raises(HarnessError, match="is not JSON"):
        Layout.of_directory(tmp_path, "a")


def test_a_manifest_that_calls_itself_an_index_is_a_manifest(tmp_path: Path) -> None:
    image = an_image(edit=lambda document: {**document, "mediaType": an_index().media_type})
    layout = Layout.of_store(tmp_path, fill(tmp_path, image))
    assert layout.verify() == []
    assert layout.images == [image.digest]


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("h:1/a/b", "h:1/a/b:latest"),
        ("h:1/a/b:c", "h:1/a/b:c"),
        ("h:1/a@sha256:d", "h:1/a@sha256:d"),
        ("h:1/a:t@sha256:d", "h:1/a@sha256:d"),
    ],
)
def test_references_are_found_in_their_normal_form(
    tmp_path: Path, image: ImageSpec, typed: str, written: str
) -> None:
    index_json(tmp_path, (fill(tmp_path / "blobs", image), written))
    assert Layout.of_directory(tmp_path, typed) is not None


def test_dir_transport(tmp_path: Path, image: ImageSpec) -> None:
    assert Layout.of_dir_transport(tmp_path) is None
    for data in (*(layer.blob for layer in image.layers), image.config):
        (tmp_path / hashlib.sha256(data).hexdigest()).write_bytes(data)
    (tmp_path / "manifest.json").write_bytes(image.manifest)
    layout = Layout.of_dir_transport(tmp_path)
    assert layout is not None
    assert layout.verify() == []
    assert layout.root == image.digest


def test_an_archive_of_a_layout(tmp_path: Path, image: ImageSpec) -> None:
    made = tmp_path / "made"
    made.mkdir()
    index_json(made, (fill(made / "blobs", image), "x"))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(made, arcname=".")
    layout = Layout.of_archive(tmp_path / "x.tar", tmp_path / "into", "x")
    assert layout is not None
    assert layout.verify() == []
    (tmp_path / "bad.tar").write_bytes(b"no tar")
    with pytest.raises(HarnessError, match="can't be read as a tar"):
        Layout.of_archive(tmp_path / "bad.tar", tmp_path / "into2")


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:ABC", "md5:00", ""])
def test_only_digests_become_paths(tmp_path: Path, digest: str) -> None:
    with pytest.raises(HarnessError, match="not a digest"):
        Layout.of_store(tmp_path, digest).path(digest)
    assert "not a valid digest" in Layout.of_store(tmp_path, digest).verify()[0]


def test_docker_archive(tmp_path: Path, image: ImageSpec) -> None:
    def write(path: Path, layers: list[bytes]) -> None:
        members = {f"{n}.tar": layer for n, layer in enumerate(layers)}
        entry = {"Config": "c.json", "Layers": list(members)}
        members |= {"c.json": image.config, "manifest.json": json.dumps([entry]).encode()}
        with tarfile.open(path, "w") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))

    write(tmp_path / "good.tar", [layer.tar for layer in image.layers])
    archive = Archive.read(tmp_path / "good.tar")
    assert archive.image_id == image.image_id
    assert archive.verify() == []
    write(tmp_path / "bad.tar", [image.layers[0].tar, b"other"])
    assert archive.diff_ids[0] in Archive.read(tmp_path / "bad.tar").diff_ids
    (line,) = Archive.read(tmp_path / "bad.tar").verify()
    assert line.startswith("layer 1: diffID ")
    write(tmp_path / "few.tar", [image.layers[0].tar])
    assert Archive.read(tmp_path / "few.tar").verify() == ["1 layers, the config says 2"]
    with pytest.raises(HarnessError, match="not a docker-archive"):
        Archive.read(tmp_path)
