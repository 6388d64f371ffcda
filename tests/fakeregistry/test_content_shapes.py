"""Images of odd forms: what stands in their documents, and that all of it is stored."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from test_schema1 import verify

from fakeregistry.content import (
    AMBIGUOUS,
    DIFF_IDS,
    EMBEDDED,
    NO_LAYERS,
    NO_MEDIA_TYPE,
    NULL_LAYERS,
    SCHEMA1_FORMS,
    Edits,
    ImageSpec,
    IndexSpec,
    Layer,
    Spec,
    a_document,
    a_layer,
    an_artifact,
    an_image,
    an_index,
    as_schema1,
    attested,
    digest_of,
    nested_index,
    wide_index,
    with_diff_ids,
)


def document(data: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(data)
    return parsed


# Edits


def test_edits_put_and_leave_out() -> None:
    edits = Edits(
        set={"/a/0/b": 1e30, "/new": {"x": []}, "/a/-": "more", "/q~1r~0": 2},
        null=("/gone",),
        omit=("/a/1", "/old"),
    )
    before = {"a": [{"b": 0}, 1], "old": 1, "gone": 1}

    after = edits(before)

    assert after == {"a": [{"b": 1e30}, "more"], "gone": None, "new": {"x": []}, "q/r~": 2}
    assert before == {"a": [{"b": 0}, 1], "old": 1, "gone": 1}
    assert (bool(edits), bool(Edits())) == (True, False)
    assert edits == replace(edits)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (Edits(omit=("/none",)), "nothing at /none"),
        (Edits(omit=("/list/5",)), "nothing at /list/5"),
        (Edits(set={"/list/x": 1}), "a list has numbers"),
        (Edits(set={"/none/x": 1}), "'none' leads nowhere"),
        (Edits(set={"/text/x": 1}), "inside of 'a'"),
        (Edits(set={"/text/x/y": 1}), "'x' leads nowhere"),
        (Edits(set={"layers": 1}), "no place such as"),
    ],
)
def test_edits_say_what_they_cannot_find(edits: Edits, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        edits({"list": [1], "text": "a"})


def test_manifests_that_are_not_what_they_should_be() -> None:
    made = {
        name: document(an_image(edit=edit).manifest)
        for name, edit in [
            ("ambiguous", AMBIGUOUS),
            ("typeless", NO_MEDIA_TYPE),
            ("bare", NO_LAYERS),
            ("null", NULL_LAYERS),
            ("huge", Edits(set={"/layers/0/size": 2**62, "/layers/1/size": 1e30})),
            ("raw", Edits(set={"/layers/0/size": "12", "/config/digest": "sha256:../../x"})),
        ]
    }

    assert made["ambiguous"]["manifests"] == []
    assert len(made["ambiguous"]["layers"]) == 2
    assert "mediaType" not in made["typeless"]
    assert "layers" not in made["bare"]
    assert made["null"]["layers"] is None
    assert [one["size"] for one in made["huge"]["layers"]] == [2**62, 1e30]
    assert made["raw"]["layers"][0]["size"] == "12"
    assert made["raw"]["config"]["digest"] == "sha256:../../x"


# Descriptors


@pytest.mark.parametrize("how", EMBEDDED)
def test_data_is_the_content_or_a_lie(how: Any) -> None:
    image = an_image([a_layer(embed=how)], config_embed=how)
    listed = document(image.manifest)

    for described, content in (
        (listed["layers"][0], image.layers[0].blob),
        (listed["config"], image.config),
    ):
        data = base64.b64decode(described["data"])
        same = {"good": len(content), "wrong": len(content), "truncated": len(content) // 2}
        assert len(data) == same.get(how, 10 << 20)
        assert (data == content) == (how == "good")
        assert described["digest"] == digest_of(content)


@pytest.mark.parametrize("size", [4000, 3_900_000, 5 << 20])
def test_a_manifest_is_as_large_as_is_wanted(size: int) -> None:
    image = an_image(manifest_size=size)
    index = an_index(image, manifest_size=size)

    assert len(image.manifest) == len(index.manifest) == size
    assert document(image.manifest)["layers"] == document(an_image().manifest)["layers"]
    assert image.salted("s").size == size


def test_a_manifest_cannot_be_smaller_than_it_is() -> None:
    with pytest.raises(ValueError, match="can't be filled up to 10"):
        _ = an_image(manifest_size=10).manifest


def test_sha512_stands_where_it_is_wanted() -> None:
    layers = [a_layer(0, algorithm="sha512"), a_layer(1)]
    image = an_image(layers, config_algorithm="sha512", algorithm="sha512")
    index = an_index(image, algorithm="sha512")
    listed = document(image.manifest)

    assert [one["digest"][:6] for one in listed["layers"]] == ["sha512", "sha256"]
    assert listed["config"]["digest"].startswith("sha512:")
    assert document(index.manifest)["manifests"][0]["digest"].startswith("sha512:")
    assert index.digest.startswith("sha512:")
    for item in index.objects():
        assert item.digest == digest_of(item.data, "sha512" if "512" in item.digest else "sha256")
    # A diff_id is SHA-256 whatever names the blob.
    assert document(image.config)["rootfs"]["diff_ids"][0].startswith("sha256:")


@pytest.mark.parametrize("how", DIFF_IDS)
def test_diff_ids_that_do_not_fit_stay_so_with_salt(how: Any) -> None:
    for image in (an_image(), an_image(salt="s")):
        true = document(image.config)["rootfs"]["diff_ids"]
        false = document(with_diff_ids(image, how).config)["rootfs"]["diff_ids"]

        assert false != true
        shape = {"missing": 1, "extra": 3, "swapped": 2, "empty": 0, "other_algorithm": 2}
        assert len(false) == shape[how]
        if how in ("missing", "extra", "swapped"):
            assert set(true) & set(false)
    salted = with_diff_ids(an_image(), how).salted("s")
    assert document(salted.config) == document(with_diff_ids(an_image(salt="s"), how).config)


def test_an_edit_of_the_config_comes_before_its_diff_ids() -> None:
    image = with_diff_ids(an_image(config_edit=Edits(omit=("/os",))), "empty")

    assert "os" not in document(image.config)
    assert document(image.config)["rootfs"]["diff_ids"] == []


# Indexes


def stored(spec: Spec) -> set[str]:
    return {item.digest for item in spec.objects()}


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_nested_indexes_lead_to_the_image(depth: int) -> None:
    image = an_image()
    index = nested_index(image, depth)

    at: dict[str, Any] = document(index.manifest)
    found = {item.digest: item.data for item in index.objects()}
    levels = 1
    while "index" in at["manifests"][0]["mediaType"]:
        at = document(bytes(found[at["manifests"][0]["digest"]]))
        levels += 1
    assert levels == depth
    assert at["manifests"][0]["digest"] == image.digest
    assert index.image("linux/amd64") == image
    with pytest.raises(ValueError, match="at least once"):
        nested_index(image, 0)


def test_a_wide_index_has_so_many_entries() -> None:
    image = an_image()
    index = wide_index(image, count=500).salted("s")
    listed = document(index.manifest)["manifests"]

    assert len({one["digest"] for one in listed}) == 500
    assert listed[-1]["platform"] == {"architecture": "amd64", "os": "linux"}
    assert {one["digest"] for one in listed} <= stored(index)
    assert index.image("linux/amd64") == image.salted("s")


@pytest.mark.parametrize("where", ["first", "last"])
def test_attestations_stand_where_they_are_wanted(where: Any) -> None:
    images = an_image(), an_image(platform="linux/arm64")
    index = attested(*images, where=where).salted("s")
    listed = document(index.manifest)["manifests"]
    platforms = [one["platform"]["os"] for one in listed]

    assert platforms == sorted(platforms, reverse=where == "first")
    about = [one for one in listed if one["platform"]["os"] == "unknown"]
    named = [one["annotations"]["vnd.docker.reference.digest"] for one in about]
    assert named == [image.digest for image in index.images if image.platform != "unknown/unknown"]
    assert {one["digest"] for one in listed} <= stored(index)


def test_attestations_may_be_absent() -> None:
    index = attested(an_image(), served=False)
    missing = [one for one in index.manifests if isinstance(one, ImageSpec)][1]

    assert not {missing.digest, missing.layers[0].digest} & stored(index)


# Artifacts


def test_an_artifact_has_a_type_an_empty_config_and_documents() -> None:
    image = an_image()
    layers = [a_document("first\n", "text/x"), a_document("second\n", "text/y")]
    artifact = an_artifact("application/x.test", layers, subject=image)
    listed = document(artifact.manifest)

    assert listed["artifactType"] == "application/x.test"
    assert listed["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest_of(b"{}"),
        "size": 2,
    }
    assert [one["mediaType"] for one in listed["layers"]] == ["text/x", "text/y"]
    assert listed["subject"] == {
        key: image.descriptor[key] for key in ("mediaType", "digest", "size")
    }
    assert artifact.layers[0].blob == b"first\n"


def test_salt_reaches_artifacts_and_what_they_refer_to() -> None:
    image = an_image()
    artifact = an_artifact("x/y", [a_document("text\n", "text/x")], subject=image)

    first, second = artifact.salted("a"), artifact.salted("a").salted("b")

    assert second.digest == artifact.salted("b").digest != first.digest != artifact.digest
    assert document(second.manifest)["subject"]["digest"] == image.salted("b").digest
    assert bytes(first.layers[0].blob).startswith(b"text\n")
    empty = an_artifact("x/y", []).salted("a")
    assert empty.digest != an_artifact("x/y", []).digest
    assert empty.config == b"{}"


def test_an_index_can_refer_to_an_image_too() -> None:
    image = an_image()
    index = an_index(artifact_type="x/y", subject=image).salted("s")

    assert document(index.manifest)["subject"]["digest"] == image.salted("s").digest
    assert document(index.manifest)["artifactType"] == "x/y"


# Schema 1


@pytest.mark.parametrize("form", SCHEMA1_FORMS)
def test_every_form_of_schema_1(form: Any) -> None:
    spec = as_schema1(an_image(2), form).named("app/web", "v1")
    said = document(spec.manifest)

    assert ("signatures" in said) == (form != "unsigned")
    assert (said["name"] == "app/web") == (form != "wrong_name")
    assert (said["tag"] == "v1") == (form != "wrong_tag")
    if form not in ("unsigned", "bad_signature"):
        verify(spec.manifest)


def test_schema_1_of_uncompressed_empty_and_repeated_layers() -> None:
    image = an_image([a_layer(0, compression="none"), a_layer(1, compression="none")])
    spec = as_schema1(image, empty_steps=2, repeated=True)
    blobs = [one["blobSum"] for one in document(spec.manifest)["fsLayers"]]

    assert len(blobs) == 5
    assert blobs[-1] == blobs[-2] == image.layers[0].digest
    assert blobs[1] == blobs[2]
    assert [layer.blob for layer in spec.layers] == [layer.tar for layer in spec.layers]
    assert len({item.digest for item in spec.objects()}) == 4


# All of them


MAKERS: dict[str, Callable[[], Spec]] = {
    "nested": lambda: nested_index(an_image(), 3),
    "wide": lambda: wide_index(an_image(), count=20),
    "attested": lambda: attested(an_image(), where="first"),
    "artifact": lambda: an_artifact("x/y", [a_document("t", "text/x")], subject=an_image()),
    "edited": lambda: an_image(edit=AMBIGUOUS, config_edit=Edits(omit=("/os",))),
    "filled": lambda: an_image(manifest_size=10_000),
    "diff_ids": lambda: with_diff_ids(an_image(), "swapped"),
    "schema1": lambda: as_schema1(an_image(), "wrong_name", empty_steps=1),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_words_are_the_same_content(name: str) -> None:
    first, second = MAKERS[name](), MAKERS[name]()

    assert (first, first.digest) == (second, second.digest)
    salted = [first.salted(salt) for salt in ("a", "a", "b")]
    assert salted[0].digest == salted[1].digest != salted[2].digest != first.digest
    ours, theirs = (
        {item.digest for item in one.objects()} - {digest_of(b"{}")} for one in salted[1:]
    )
    shared = ours & theirs
    # Schema 1's empty layer is one blob in all the world.
    assert len(shared) <= (1 if name == "schema1" else 0)


def test_specs_without_layers_have_a_place_for_salt() -> None:
    specs: list[ImageSpec | IndexSpec] = [ImageSpec(), an_index(ImageSpec())]
    for spec in specs:
        assert spec.salted("a").digest != spec.digest
    assert Layer().salted("a") == Layer()
