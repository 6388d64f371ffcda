"""OCI layouts: what lies in a folder is what is served, and an unsound folder is one line."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakeregistry import ImageSpec, IndexSpec, Registry, Spec, an_image, an_index
from fakeregistry.honest.layouts import Layout, LayoutError

NAME = "org.opencontainers.image.ref.name"


def laid_out(folder: Path, *named: tuple[Spec, Mapping[str, str]]) -> Path:
    """A layout folder with these specifications and their annotations."""
    entries = []
    for spec, annotations in named:
        for thing in spec.objects():
            algorithm, value = thing.digest.split(":")
            path = folder / "blobs" / algorithm / value
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(thing.data)
        entry: dict[str, Any] = {"mediaType": spec.media_type, "digest": spec.digest}
        entry |= {"size": len(spec.manifest), "annotations": dict(annotations)}
        entries.append(entry)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return folder


def get(registry: Registry, path: str) -> httpx.Response:
    return httpx.get(registry.url_for(path), trust_env=False)


def assert_served(registry: Registry, repository: str, tag: str, spec: ImageSpec) -> None:
    answer = get(registry, f"/v2/{repository}/manifests/{tag}")
    assert (answer.status_code, answer.content) == (200, spec.manifest)
    assert answer.headers["Content-Type"] == spec.media_type
    for layer in spec.layers:
        assert get(registry, f"/v2/{repository}/blobs/{layer.digest}").content == layer.blob
    assert get(registry, f"/v2/{repository}/blobs/{spec.image_id}").content == spec.config


@pytest.mark.parametrize(
    ("annotations", "repository", "tag"),
    [
        ({NAME: "v2"}, "my-layout", "v2"),
        ({NAME: "app/web:v2"}, "app/web", "v2"),
        ({NAME: "registry.example:5000/app/web:v2"}, "app/web", "v2"),
        ({NAME: "v2", "io.containerd.image.name": "docker.io/library/x:1"}, "library/x", "1"),
        ({}, "my-layout", "latest"),
        ({NAME: "NOT A NAME"}, "my-layout", "latest"),
    ],
)
def test_names_come_from_annotations_or_the_folder(
    tmp_path: Path, registry: Registry, annotations: dict[str, str], repository: str, tag: str
) -> None:
    spec = an_image(2)
    (placed,) = Layout(laid_out(tmp_path / "My_layout", (spec, annotations))).place(registry)

    assert placed.reference == f"{registry.host}/{repository}:{tag}"
    assert placed.by_digest == f"{registry.host}/{repository}@{spec.digest}"
    assert_served(registry, repository, tag, spec)


def test_an_index_is_served_with_its_images(tmp_path: Path, registry: Registry) -> None:
    spec = an_index(an_image(1), an_image(1, platform="linux/arm64/v8", salt="arm"))
    (placed,) = Layout(laid_out(tmp_path, (spec, {NAME: "a:v1"}))).place(registry)

    assert placed.platforms == ("linux/amd64", "linux/arm64/v8")
    assert get(registry, "/v2/a/manifests/v1").content == spec.index
    for image in spec.images:
        assert_served(registry, "a", image.digest, image)


def test_what_has_no_name_is_there_by_digest(tmp_path: Path, registry: Registry) -> None:
    named, unnamed = an_image(1), an_image(1, salt="other")
    placed = Layout(laid_out(tmp_path, (named, {NAME: "a:v1"}), (unnamed, {}))).place(registry)

    assert [one.tag for one in placed] == ["v1", None]
    assert placed[1].reference == placed[1].by_digest
    assert_served(registry, "a", unnamed.digest, unnamed)


def test_an_index_may_be_sparse_and_an_image_not(tmp_path: Path, registry: Registry) -> None:
    spec = an_index(an_image(1), an_image(1, platform="linux/arm64", salt="arm"))
    folder = laid_out(tmp_path, (spec, {NAME: "a:v1"}))
    amd, arm = spec.images
    blob_of(folder, arm.digest).unlink()
    Layout(folder).place(registry)
    assert get(registry, f"/v2/a/manifests/{arm.digest}").status_code == 404

    blob_of(folder, amd.layers[0].digest).unlink()
    with pytest.raises(LayoutError, match=r"which sha256:\w+ needs, isn't there"):
        Layout(folder)


def blob_of(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "/")


def unmarked(folder: Path, spec: ImageSpec) -> None:
    (folder / "oci-layout").unlink()


def newer(folder: Path, spec: ImageSpec) -> None:
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')


def no_json(folder: Path, spec: ImageSpec) -> None:
    (folder / "index.json").write_text("[")


def nothing_named(folder: Path, spec: ImageSpec) -> None:
    (folder / "index.json").write_text("{}")


def flipped(folder: Path, spec: ImageSpec) -> None:
    path = blob_of(folder, spec.digest)
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))


def short(folder: Path, spec: ImageSpec) -> None:
    path = blob_of(folder, spec.layers[0].digest)
    path.write_bytes(path.read_bytes()[:-1])


def outside(folder: Path, spec: ImageSpec) -> None:
    entry = {"digest": "sha256:../../../etc/passwd", "size": 1}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (unmarked, "can't read oci-layout: No such file"),
        (newer, "oci-layout: imageLayoutVersion isn't 1.0.0"),
        (no_json, "index.json is no JSON object"),
        (nothing_named, "index.json names no manifest"),
        (flipped, "sha256:[0-9a-f]+: the content has another digest"),
        (short, r"sha256:[0-9a-f]+: \d+ bytes, not \d+"),
        (outside, "'sha256:../../../etc/passwd' is no digest"),
    ],
)
def test_an_unsound_folder_is_refused(tmp_path: Path, spoil: Any, expected: str) -> None:
    spec = an_image(1)
    spoil(laid_out(tmp_path, (spec, {NAME: "v1"})), spec)

    with pytest.raises(LayoutError, match=f"^{tmp_path}: {expected}") as caught:
        Layout(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_indexes_that_hold_each_other_without_end_are_refused(tmp_path: Path) -> None:
    spec: IndexSpec | ImageSpec = an_image(1)
    for _ in range(20):
        spec = an_index(spec)

    with pytest.raises(LayoutError, match="nested deeper than 16"):
        Layout(laid_out(tmp_path, (spec, {NAME: "v1"})))


def test_an_empty_blob_is_served(tmp_path: Path, registry: Registry) -> None:
    empty = "sha256:" + hashlib.sha256(b"").hexdigest()
    spec = an_image(1)
    document = json.loads(spec.manifest)
    document["layers"].append({"mediaType": "x/y", "digest": empty, "size": 0})
    data = json.dumps(document).encode()
    folder = laid_out(tmp_path, (spec, {NAME: "v1"}))
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blob_of(folder, digest).write_bytes(data)
    blob_of(folder, empty).write_bytes(b"")
    entry = {"digest": digest, "size": len(data), "annotations": {NAME: "a:v1"}}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))

    Layout(folder).place(registry)

    answer = get(registry, f"/v2/a/blobs/{empty}")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo isn't installed")
def test_what_skopeo_laid_out_comes_back_the_same(tmp_path: Path, registry: Registry) -> None:
    image = registry.add(an_image(2))
    for source, target in (
        (f"docker://{image.reference}", f"oci:{tmp_path}/one:v1"),
        (f"docker://{registry.host}/one:v1", f"oci:{tmp_path}/two:v1"),
    ):
        command = ["skopeo", "copy", "-q", "--src-tls-verify=false", source, target]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        if "one" in target:
            Layout(tmp_path / "one").place(registry)

    def files(name: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / name).glob("blobs/*/*")}

    assert files("one") == files("two")
