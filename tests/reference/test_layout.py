"""Layouts and other outputs appear complete under their name, or not at all."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from reference.descriptors import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from reference.errors import StoreError
from reference.layout import IMAGE_NAME, REF_NAME, LayoutWriter
from reference.output import OutputExistsError, fresh_directory
from reference.store import Store

NAME = "registry.example:5000/app/web:v1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def image(store: Store) -> tuple[Descriptor, list[Descriptor]]:
    layer = store.put(OCI_LAYER, b"layer")
    content = [store.put(OCI_CONFIG, b"config", "sha512"), layer, layer]
    document = {
        "schemaVersion": 2,
        "config": content[0].to_json(),
        "layers": [each.to_json() for each in content[1:]],
    }
    return store.put(OCI_MANIFEST, json.dumps(document).encode()), content


def test_a_layout_is_complete(
    store: Store, image: tuple[Descriptor, list[Descriptor]], tmp_path: Path
) -> None:
    manifest, content = image
    out = tmp_path / "deep" / "er" / "out"
    LayoutWriter(store).write(manifest, content, out, NAME)
    assert json.loads((out / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((out / "index.json").read_text())
    assert index == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {**manifest.to_json(), "annotations": {REF_NAME: "v1", IMAGE_NAME: NAME}},
        ],
    }
    for descriptor in (manifest, *content):
        algorithm, _, encoded = descriptor.digest.partition(":")
        assert (out / "blobs" / algorithm / encoded).read_bytes() == store.read(descriptor.digest)
    assert sum(len(files) for _, _, files in os.walk(out)) == 5
    assert os.listdir(out.parent) == ["out"]


def test_only_algorithms_in_use_have_a_folder(store: Store, tmp_path: Path) -> None:
    manifest = store.put(OCI_MANIFEST, b"{}")
    LayoutWriter(store).write(manifest, [], tmp_path / "out", NAME)
    assert os.listdir(tmp_path / "out" / "blobs") == ["sha256"]


def test_a_name_with_a_digest(store: Store) -> None:
    manifest = store.put(OCI_MANIFEST, b"{}")
    name = f"registry.example:5000/app/web@{manifest.digest}"
    (entry,) = LayoutWriter(store).index(manifest, name)["manifests"]
    assert entry["annotations"] == {REF_NAME: manifest.digest, IMAGE_NAME: name}


def test_blobs_are_copied_where_links_cannot_reach(
    store: Store,
    image: tuple[Descriptor, list[Descriptor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", link)
    LayoutWriter(store).write(*image, tmp_path / "out", NAME)
    path = tmp_path / "out" / "blobs" / Path(*image[0].digest.split(":"))
    assert path.read_bytes() == store.read(image[0].digest)
    assert path.stat().st_nlink == 1


def test_a_missing_blob_leaves_no_folder(
    store: Store, image: tuple[Descriptor, list[Descriptor]], tmp_path: Path
) -> None:
    store.delete(image[1][1].digest)
    with pytest.raises(StoreError, match=r"cannot write a layout to .*: No such file"):
        LayoutWriter(store).write(*image, tmp_path / "out", NAME)
    assert sorted(os.listdir(tmp_path)) == ["store"]


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with fresh_directory(out) as folder:
        (folder / "x").write_text("x")
        assert os.listdir(out) == []
    assert os.listdir(out) == ["x"]
    with pytest.raises(OutputExistsError, match="exists and is not empty"), fresh_directory(out):
        pytest.fail("was let in")
    with pytest.raises(OutputExistsError, match="is not a folder"), fresh_directory(out / "x"):
        pytest.fail("was let in")
    assert (out / "x").read_text() == "x"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()])
def test_an_interrupted_output_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):  # noqa: PT012
        with fresh_directory(tmp_path / "out") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "x").write_text("x")
            (folder / "sub").chmod(0o555)
            raise error
    assert os.listdir(tmp_path) == []


def test_of_two_that_write_the_same_folder_one_wins(tmp_path: Path) -> None:
    barrier = threading.Barrier(2)
    results: list[str] = []

    def work(number: int) -> None:
        try:
            with fresh_directory(tmp_path / "out") as folder:
                barrier.wait(10)
                (folder / str(number)).write_text("")
            results.append("written")
        except StoreError:
            results.append("refused")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["refused", "written"]
    assert os.listdir(tmp_path) == ["out"]
    assert len(os.listdir(tmp_path / "out")) == 1
