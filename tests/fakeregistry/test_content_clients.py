"""Real clients read what the content builder makes: skopeo unpacks and decrypts, crane validates.

Where one isn't installed its test is skipped, unless PULLPROOF_REQUIRE_CLIENTS is set.
"""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from test_clients import client

from fakeregistry import Registry, a_layer, an_image
from fakeregistry.content import (
    CORRUPTIONS,
    ENCRYPTION_LIES,
    LayerKey,
    a_bomb,
    an_empty_layer,
    attested,
    nested_index,
    of_every_kind,
    wide_index,
    with_diff_ids,
)
from fakeregistry.content.mediatypes import Compression

FORMS: tuple[Compression, ...] = get_args(Compression)
CODECS = ("gzip", "zstd", "xz", "bz2")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def copied(folder: Path, registry: Registry, target: str, *options: str) -> Any:
    """What skopeo says to a copy of the image that stands under app/web:v1."""
    command = [client("skopeo"), "--insecure-policy", "copy", "--src-tls-verify=false", *options]
    return run(folder, *command, f"docker://{registry.host}/app/web:v1", target)


def unpacked(folder: Path, registry: Registry) -> Any:
    """What skopeo says to the same copy into containers/storage, which unpacks it."""
    if os.geteuid() != 0:
        pytest.skip("containers/storage unpacks as root only")
    return copied(folder, registry, f"containers-storage:[vfs@{folder}/root+{folder}/run]web:v1")


def files_in(folder: Path) -> dict[str, Path]:
    """The files of the one layer that containers/storage has unpacked."""
    (root,) = (folder / "root" / "vfs" / "dir").iterdir()
    return {str(path.relative_to(root)): path for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("form", FORMS)
def test_containers_storage_unpacks_every_form(
    tmp_path: Path, registry: Registry, form: Compression
) -> None:
    layer = a_layer(compression=form)
    registry.add(an_image([layer]))

    done = unpacked(tmp_path, registry)

    assert done.returncode == 0, done.stderr
    found = files_in(tmp_path)
    assert found["app/version"].read_text() == "0\n"
    ours = {entry.raw().name for entry in layer.unpacked if entry.raw().type != "5"}
    assert found.keys() == ours


def test_containers_storage_unpacks_every_kind_of_member(
    tmp_path: Path, registry: Registry
) -> None:
    registry.add(an_image([of_every_kind()]))

    done = unpacked(tmp_path, registry)

    assert done.returncode == 0, done.stderr
    found = files_in(tmp_path)
    assert found["kinds/hard"].stat().st_ino == found["kinds/file"].stat().st_ino
    assert os.readlink(found["kinds/dangling"]) == "/nowhere"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("how", [how for how in CORRUPTIONS if how != "middle"])
def test_containers_storage_refuses_what_is_corrupt(
    tmp_path: Path, registry: Registry, codec: Any, how: Any
) -> None:
    registry.add(an_image([a_layer(compression=codec, corrupt=how)]))

    done = unpacked(tmp_path, registry)

    assert done.returncode == 1
    assert "level=fatal" in done.stderr


@pytest.mark.parametrize("form", ["gzip", "zstd", "none", "estargz"])
def test_skopeo_decrypts_with_the_key_and_no_other(
    tmp_path: Path, registry: Registry, form: Compression
) -> None:
    key = LayerKey()
    (tmp_path / "key.pem").write_bytes(key.private_pem)
    (tmp_path / "other.pem").write_bytes(LayerKey("another").private_pem)
    layers = [a_layer(0, compression=form, encrypted=key), a_layer(1)]
    plain = replace(registry.add(an_image(layers)).layers[0], encrypted=None)

    right = copied(tmp_path, registry, "oci:right:v1", "--decryption-key", "key.pem")
    wrong = copied(tmp_path, registry, "oci:wrong:v1", "--decryption-key", "other.pem")

    assert right.returncode == 0, right.stderr
    blob = tmp_path / "right" / "blobs" / "sha256" / plain.digest.partition(":")[2]
    assert blob.read_bytes() == plain.blob
    assert wrong.returncode == 1
    assert "no suitable key" in wrong.stderr


@pytest.mark.parametrize("lie", [lie for lie in ENCRYPTION_LIES if lie != "digest"])
def test_skopeo_refuses_what_is_false_about_encryption(
    tmp_path: Path, registry: Registry, lie: Any
) -> None:
    (tmp_path / "key.pem").write_bytes(LayerKey().private_pem)
    registry.add(an_image([a_layer(encrypted=LayerKey(), encryption_lie=lie)]))

    done = copied(tmp_path, registry, "oci:out:v1", "--decryption-key", "key.pem")

    assert done.returncode == 1
    words = {"hmac": "exp hmac", "key": "no suitable key", "unwrapped": "missing private key"}
    assert words[lie] in done.stderr


def test_skopeo_copies_odd_indexes_whole(tmp_path: Path, registry: Registry) -> None:
    image = an_image()
    placed = registry.add(attested(image, an_image(platform="linux/arm64"), where="first"))

    done = copied(tmp_path, registry, "oci:out:v1", "--all")

    assert done.returncode == 0, done.stderr
    blobs = {path.name for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    assert {item.digest.partition(":")[2] for item in placed.spec.objects()} <= blobs


def validated(folder: Path, registry: Registry) -> subprocess.CompletedProcess[str]:
    """What crane says to the image: it undoes each layer and compares all digests."""
    command = [client("crane"), "validate", "--insecure", "--remote"]
    return run(folder, *command, f"{registry.host}/app/web:v1")


# To crane every layer is gzip: it says 'invalid header' to sound zstd.
@pytest.mark.parametrize("form", ["gzip", "estargz"])
def test_crane_finds_every_form_sound(
    tmp_path: Path, registry: Registry, form: Compression
) -> None:
    layers = [
        a_layer(0, compression=form),
        a_layer(1, compression=form, members=3 if form == "gzip" else 1),
        replace(a_bomb(a_layer(2), "8MiB"), compression=form),
        an_empty_layer("archive"),
    ]
    registry.add(an_image(layers))

    done = validated(tmp_path, registry)

    assert done.returncode == 0, done.stderr


def test_crane_finds_wide_indexes_sound_and_false_diff_ids_not(
    tmp_path: Path, registry: Registry
) -> None:
    registry.add(wide_index(an_image(), count=20))
    assert validated(tmp_path, registry).returncode == 0
    registry.add(nested_index(an_image(), 2))
    assert validated(tmp_path, registry).returncode == 0

    registry.add(with_diff_ids(an_image(), "swapped"))

    done = validated(tmp_path, registry)
    assert done.returncode == 1
    assert "diffid" in done.stderr
