"""Content is what its fields say, and the same bytes every time."""

import gzip
import io
import json
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from fakeregistry.content import (
    OMIT,
    SALT_FILE,
    Device,
    Directory,
    Fifo,
    File,
    Hardlink,
    ImageSpec,
    Layer,
    OpaqueWhiteout,
    RawDescriptor,
    RawEntry,
    Symlink,
    Whiteout,
    a_layer,
    an_attestation,
    an_image,
    an_index,
    digest_of,
    of_entries,
    pax_header,
    salted,
    seeded_bytes,
    tar_bytes,
)
from fakeregistry.content.compression import zstd
from fakeregistry.content.tar import Format


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        return {member.name: member for member in archive}


def document(data: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(data)
    return parsed


def test_every_kind_of_entry_is_read_back_by_another_reader() -> None:
    layer = of_entries(
        Directory("d", mode=0o1777, uid=5, gid=6, mtime=7),
        File("d/f", "text", mode=0o4755, mtime=11, xattrs={"user.k": b"\x00\xff"}),
        Symlink("d/s", "/abs"),
        Hardlink("d/h", "d/f"),
        Whiteout("d/gone"),
        Whiteout("top"),
        OpaqueWhiteout("d"),
        OpaqueWhiteout(""),
        Fifo("d/p"),
        Device("d/c", "char", 1, 3),
        Device("d/b", "block", 8, 1),
    )

    found = members(layer.tar)

    assert list(found) == [
        "d",
        "d/f",
        "d/s",
        "d/h",
        "d/.wh.gone",
        ".wh.top",
        "d/.wh..wh..opq",
        ".wh..wh..opq",
        "d/p",
        "d/c",
        "d/b",
    ]
    assert (found["d"].mode, found["d"].uid, found["d"].gid, found["d"].mtime) == (0o1777, 5, 6, 7)
    assert (found["d/f"].mode, found["d/f"].size, found["d/f"].mtime) == (0o4755, 4, 11)
    assert found["d/f"].pax_headers["SCHILY.xattr.user.k"] == "\x00\udcff"
    assert (found["d/s"].issym(), found["d/s"].linkname) == (True, "/abs")
    assert (found["d/h"].islnk(), found["d/h"].linkname) == (True, "d/f")
    assert found["d/p"].isfifo()
    assert (found["d/c"].ischr(), found["d/c"].devmajor, found["d/c"].devminor) == (True, 1, 3)
    assert (found["d/b"].isblk(), found["d/b"].devmajor, found["d/b"].devminor) == (True, 8, 1)


@pytest.mark.parametrize("name", ["/etc/x", "../../x", "a//b", "./x", "a/../../x", ".wh..", ""])
def test_names_are_written_as_they_are_given(name: str) -> None:
    tar = of_entries(RawEntry(name)).tar

    assert tar[:100].rstrip(b"\0") == name.encode()


@pytest.mark.parametrize("form", ["pax", "gnu"])
@pytest.mark.parametrize(
    "name",
    ["p/" * 60 + "f", "n" * 99, "n" * 100, "n" * 101, "n" * 300, "grün", "d" * 90 + "/" + "f" * 90],
)
def test_long_and_foreign_names_survive(form: Format, name: str) -> None:
    tar = tar_bytes([File(name, "x"), Symlink("s", name), Hardlink("h", name)], form)

    found = members(tar)

    assert list(found) == [name, "s", "h"]
    assert found["s"].linkname == found["h"].linkname == name


def test_numbers_too_large_for_a_header_survive() -> None:
    found = members(tar_bytes([File("f", uid=3_000_000, gid=2**31, mtime=-5)]))

    assert (found["f"].uid, found["f"].gid, found["f"].mtime) == (3_000_000, 2**31, -5)


def test_plain_ustar_says_which_entry_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"plain ustar can't hold the entry '.*': path"):
        tar_bytes([File("n" * 300)], "ustar")


def test_a_member_can_lie_about_its_size_and_its_checksum() -> None:
    entry = RawEntry("f", data=b"abc", size=2000, checksum=1)

    tar = tar_bytes([entry])

    assert tar[124:135] == b"00000003720"
    assert tar[148:156] == b"000001\0 "
    assert len(tar) == 512 + 512 + 1024


def test_a_global_pax_header_stands_for_itself() -> None:
    record = pax_header({"comment": b"x" * 95}, scope="g")

    layer = Layer(raw_tar=record + tar_bytes([File("f")]))

    with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
        assert archive.getnames() == ["f"]
        assert archive.pax_headers == {"comment": "x" * 95}


def test_compressions_hold_the_same_tar() -> None:
    layer = a_layer()

    assert gzip.decompress(replace(layer, compression="gzip").blob) == layer.tar
    assert zstd.decompress(replace(layer, compression="zstd").blob) == layer.tar
    assert replace(layer, compression="none").blob == layer.tar
    assert replace(layer, compression="xz").blob[:6] == b"\xfd7zXZ\0"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_several_members_are_one_stream(compression: Any) -> None:
    layer = a_layer(compression=compression, members=3)
    magic = {"gzip": b"\x1f\x8b\x08\0\0\0\0\0", "zstd": b"\x28\xb5\x2f\xfd"}[compression]
    decompress = {"gzip": gzip.decompress, "zstd": zstd.decompress}[compression]

    assert layer.blob.count(magic) == 3
    assert decompress(layer.blob) == layer.tar


def test_trailing_bytes_count_where_they_stand() -> None:
    plain, inside, outside = a_layer(), a_layer(tar_trailing=bytes(512)), a_layer(trailing=b"junk")

    assert inside.diff_id != plain.diff_id
    assert outside.diff_id == plain.diff_id
    assert outside.blob == plain.blob + b"junk"
    assert outside.digest == digest_of(outside.blob)


def test_a_cut_blob_has_its_own_digest_and_size() -> None:
    whole, cut = a_layer(), a_layer(cut=-10)

    assert cut.blob == whole.blob[:-10]
    assert cut.descriptor == {
        **whole.descriptor,
        "digest": digest_of(cut.blob),
        "size": whole.size - 10,
    }
    assert cut.diff_id == whole.diff_id
    with pytest.raises(EOFError):
        gzip.decompress(cut.blob)


@pytest.mark.parametrize(
    ("options", "docker", "expected"),
    [
        ({}, False, "application/vnd.oci.image.layer.v1.tar+gzip"),
        ({"compression": "none"}, False, "application/vnd.oci.image.layer.v1.tar"),
        ({"compression": "zstd"}, False, "application/vnd.oci.image.layer.v1.tar+zstd"),
        (
            {"foreign": True},
            False,
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ),
        ({}, True, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ({"compression": "none"}, True, "application/vnd.docker.image.rootfs.diff.tar"),
        ({"compression": "zstd"}, True, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
        ({"foreign": True}, True, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        ({"declared": {"mediaType": "application/x"}}, True, "application/x"),
    ],
)
def test_layer_types_follow_compression_and_image(
    options: dict[str, Any], docker: bool, expected: str
) -> None:
    image = an_image([a_layer(**options)], docker=docker)

    assert image.layers[0].media_type == expected
    assert document(image.manifest)["layers"][0]["mediaType"] == expected


def test_the_layers_follow_when_an_image_changes_sides() -> None:
    image = replace(an_image(docker=True), docker=False)

    assert all("oci" in layer["mediaType"] for layer in document(image.manifest)["layers"])


def test_a_descriptor_holds_what_is_declared() -> None:
    layer = a_layer(
        urls=["http://cdn.test/x"],
        annotations={"a": "b"},
        embed=True,
        declared={"size": -1, "mediaType": OMIT, "digest": "sha256:../../x"},
    )

    described = document(an_image([layer]).manifest)["layers"][0]

    assert set(described) == {"digest", "size", "urls", "annotations", "data"}
    assert (described["size"], described["digest"]) == (-1, "sha256:../../x")


def test_a_false_digest_is_the_name_that_is_served() -> None:
    image = an_image([a_layer(declared={"digest": "sha256:" + "0" * 64})])

    served = {item.role: item for item in image.objects()}

    assert served["layer[0]"].digest == image.layers[0].digest == "sha256:" + "0" * 64
    assert digest_of(served["layer[0]"].data) == image.layers[0].content_digest


def test_an_image_is_consistent() -> None:
    image = an_image(3)
    manifest, config = document(image.manifest), document(image.config)

    assert manifest["config"]["digest"] == digest_of(image.config) == image.image_id
    assert manifest["config"]["size"] == len(image.config)
    assert [layer["digest"] for layer in manifest["layers"]] == [x.digest for x in image.layers]
    assert config["rootfs"]["diff_ids"] == [digest_of(layer.tar) for layer in image.layers]
    assert image.digest == digest_of(image.manifest)
    assert [item.role for item in image.objects()] == [
        "layer[0]",
        "layer[1]",
        "layer[2]",
        "config",
        "manifest",
    ]


def test_duplicate_layers_are_stored_once_and_listed_as_often() -> None:
    a, b = a_layer(0), a_layer(1)
    image = an_image([a, b, a, a])

    assert len(document(image.manifest)["layers"]) == 4
    assert [item.role for item in image.objects()] == ["layer[0]", "layer[1]", "config", "manifest"]


def test_lies_of_the_config() -> None:
    image = an_image(
        [a_layer(0, declared_diff_id="sha256:" + "1" * 64), a_layer(1, counted=False)],
        config_fields={"os": OMIT, "extra": 1},
        config_edit=lambda doc: doc["rootfs"].update(type="other"),
        config_declared={"size": 1},
    )
    config = document(image.config)

    assert config["rootfs"] == {"type": "other", "diff_ids": ["sha256:" + "1" * 64]}
    assert ("os" in config, config["extra"]) == (False, 1)
    assert document(image.manifest)["config"]["size"] == 1
    assert an_image(diff_ids=()).config != an_image().config
    assert an_image(raw_config=b"{").image_id == digest_of(b"{")


def test_lies_of_the_manifest() -> None:
    ambiguous = an_image(edit=lambda doc: {**doc, "manifests": []})
    typeless = an_image(edit=lambda doc: doc.pop("mediaType") and None)

    assert {"layers", "manifests"} <= set(document(ambiguous.manifest))
    assert "mediaType" not in document(typeless.manifest)
    assert an_image(raw_manifest=b"{").digest == digest_of(b"{")
    assert an_image(content_type="text/html").media_type == "text/html"
    assert an_image(algorithm="sha512").digest.startswith("sha512:")
    assert len(an_image(annotations={"a": "x" * 4_000_000}).manifest) > 4_000_000


def test_an_index_lists_platforms_in_order() -> None:
    index = an_index(
        an_image(platform="linux/arm/v6"),
        an_image(platform="linux/arm64/v8"),
        an_image(platform="windows/amd64", os_version="10.0.1", os_features=("win32k",)),
    )

    listed = document(index.index)["manifests"]

    assert [entry["platform"] for entry in listed] == [
        {"architecture": "arm", "os": "linux", "variant": "v6"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
        {
            "architecture": "amd64",
            "os": "windows",
            "os.version": "10.0.1",
            "os.features": ["win32k"],
        },
    ]
    assert index.image("linux/arm64/v8").digest == listed[1]["digest"]
    picky = an_image(1, os_features=("x",))
    assert an_index(picky, an_image()).image("linux/amd64") == an_image()
    with pytest.raises(KeyError, match=r"no image for linux/amd64 .*linux/arm/v6"):
        index.image("linux/amd64")


def test_an_index_can_nest_and_hold_what_is_no_image() -> None:
    inner = an_index(an_image(), docker=True)
    raw = RawDescriptor({"mediaType": "application/x", "digest": digest_of(b"x"), "size": 1}, b"x")
    ghost = RawDescriptor({"mediaType": "application/x", "digest": digest_of(b"y"), "size": 1})
    absent = an_image(1, served=False)
    index = an_index(inner, raw, ghost, absent)

    stored = {item.digest for item in index.objects() if item.kind == "manifest"}

    assert stored == {index.digest, inner.digest, inner.images[0].digest, digest_of(b"x")}
    assert [entry["mediaType"] for entry in document(index.index)["manifests"]][:2] == [
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/x",
    ]


def test_salt_changes_every_digest_and_no_meaning() -> None:
    image = an_image(2)
    index = an_index(image, an_attestation(image))

    other = salted(index, "seed/case")

    assert salted(index, "") is index
    plain, changed = index.images[0], other.images[0]
    assert not {x.digest for x in plain.objects()} & {x.digest for x in changed.objects()}
    assert set(members(changed.layers[0].tar)) == {SALT_FILE, *members(plain.layers[0].tar)}
    assert salted(other, "seed/case").digest == other.digest
    attested = document(other.index)["manifests"][1]["annotations"]
    assert attested["vnd.docker.reference.digest"] == changed.digest


def test_salt_leaves_raw_and_empty_layers_alone() -> None:
    image = an_image([Layer(), Layer(raw_blob=b"raw"), Layer(raw_tar=bytes(1024))])

    assert [x.digest for x in salted(image, "s").layers] == [x.digest for x in image.layers]


def test_the_same_spec_is_the_same_bytes() -> None:
    # Uncompressed bytes depend on nothing: they are pinned, so that a change is a decision.
    image = an_image([a_layer(0, compression="none"), a_layer(1, compression="none")], salt="s")

    assert (
        an_image([a_layer(0, compression="none"), a_layer(1, compression="none")], salt="s").digest
        == image.digest
    )
    assert image.digest == "sha256:d95d7cc831df4e3a49a11810b7acb202f6cea08be0e31e1465fbaa8ede7227c3"
    assert ImageSpec().digest == an_image(0).digest


def test_large_layers_do_not_compress() -> None:
    layer = a_layer(size=100_000)

    assert 100_000 < layer.size < 102_000
    assert seeded_bytes(10, "a") == seeded_bytes(20, "a")[:10] != seeded_bytes(10, "b")
