"""The keys of [[image]] and [[image.layer]]: what they build, what they tell, what they refuse."""

import json
import tomllib
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from conformance.golden import golden_tree
from fakeregistry import ImageSpec, IndexSpec, Registries, Schema1Spec
from fakeregistry.content import EVIL, LayerKey, Spec, digest_of
from fakeregistry.scenario import Built, ScenarioError, Source, build, read
from fakeregistry.scenario.contentparts import IMAGE_TREES
from fakeregistry.scenario.schema import schema

VALIDATOR = jsonschema.Draft202012Validator(schema())


def text(image: str = "", layer: str = "", more: str = "") -> str:
    return f"[[image]]\n{image}\n" + (f"[[image.layer]]\n{layer}\n" if layer else "") + more


def world(toml: str, registries: Registries, **options: Any) -> Built:
    source = Source.of_text("s.toml", toml)
    return build(read(source), registries, **options)


def spec_of(toml: str, *, honest: bool = False) -> tuple[Any, list[str]]:
    """The content of the last image, and the lies that were told."""
    told: list[str] = []

    def tell(words: str, false: Any, true: Any, where: str) -> Any:
        told.append(words)
        assert where == "content"
        return true if honest else false

    with Registries() as registries:
        built = world(toml, registries, tell=tell)
        return built.images[built.scenario.images[-1].id].spec, told


def document(spec: Spec) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(spec.manifest)
    return parsed


# What is no lie


PLAIN: dict[str, tuple[str, Any]] = {
    "estargz": (
        text(layer='compression = "estargz"'),
        lambda spec: spec.layers[0].unpacked[-1].name == "stargz.index.json",
    ),
    "chunked": (
        text(layer='compression = "zstd:chunked"'),
        lambda spec: "zstd-chunked" in str(document(spec)["layers"][0]["annotations"]),
    ),
    "bz2": (text(layer='compression = "bz2"'), lambda spec: spec.layers[0].blob[:3] == b"BZh"),
    "level": (text(layer="level = 0"), lambda spec: spec.layers[0].level == 0),
    "large": (text(layer='size = "9MiB"'), lambda spec: spec.layers[0].size > 9 << 20),
    "ustar": (text(layer='tar = "ustar"'), lambda spec: spec.layers[0].form == "ustar"),
    "foreign": (
        text(layer='foreign = true\nurls = ["http://dead.invalid/x"]\nserved = false'),
        lambda spec: document(spec)["layers"][0]["urls"] == ["http://dead.invalid/x"],
    ),
    "data": (text(layer="data = true"), lambda spec: "data" in document(spec)["layers"][0]),
    "layer sha512": (
        text(layer="sha512 = true"),
        lambda spec: spec.layers[0].digest.startswith("sha512:"),
    ),
    "sha512": (
        text('sha512 = ["manifest", "config", "layers", "index"]\nplatforms = ["linux/amd64"]'),
        lambda spec: (
            str(document(spec)).count("sha512:") == 1
            and spec.digest.startswith("sha512:")
            and document(spec.images[0])["config"]["digest"].startswith("sha512:")
        ),
    ),
    "encrypted": (
        text("encrypted = true"),
        lambda spec: all(layer.encrypted == LayerKey() for layer in spec.layers),
    ),
    "one encrypted": (
        text("[[image.layer]]\nencrypted = true\n[[image.layer]]"),
        lambda spec: (
            [x["mediaType"][-9:] for x in document(spec)["layers"]] == ["encrypted", ".tar+gzip"]
        ),
    ),
    "annotations": (
        text('annotations = { a = "b" }', 'annotations = { c = "d" }'),
        lambda spec: (
            (document(spec)["annotations"], document(spec)["layers"][0]["annotations"])
            == ({"a": "b"}, {"c": "d"})
        ),
    ),
    "config": (
        text(
            'config = { type = "application/octet-stream", labels = { a = "b" }, '
            'labels_size = "1KiB", fields = { author = "me" }, omit = ["os"], data = true }'
        ),
        lambda spec: (
            (config := json.loads(spec.config))["config"]["Labels"]
            == {"a": "b", "large": " " * 1024}
            and config["author"] == "me"
            and "os" not in config
            and document(spec)["config"]["mediaType"] == "application/octet-stream"
            and "data" in document(spec)["config"]
        ),
    ),
    "typeless": (text("media_type = false"), lambda spec: "mediaType" not in document(spec)),
    "typeless index": (
        text('media_type = false\nplatforms = ["linux/amd64"]'),
        lambda spec: (
            "mediaType" not in document(spec) and "mediaType" not in document(spec.images[0])
        ),
    ),
    "filled": (text('manifest_size = "3900KiB"'), lambda spec: spec.size == 3900 * 1024),
    "artifact": (
        text(
            'artifact = "application/x.chart"',
            'text = "values"\nmedia_type = "text/x"\n[[image.layer]]\nmedia_type = "x/chart"',
        ),
        lambda spec: (
            spec.layers[0].blob.startswith(b"values")
            and [x["mediaType"] for x in document(spec)["layers"]] == ["text/x", "x/chart"]
            and document(spec)["artifactType"] == "application/x.chart"
        ),
    ),
    "subject": (
        text('id = "app"')
        + text('id = "note"\nname = "app/web"\ntag = "n"\nsubject = "app"\nartifact = "x/y"'),
        lambda spec: document(spec)["subject"]["digest"] == spec.subject.digest,
    ),
    "attestation": (
        text('attestation = "first"'),
        lambda spec: (
            [x["platform"]["os"] for x in document(spec)["manifests"]] == ["unknown", "linux"]
        ),
    ),
    "nested": (
        text("nested = 3"),
        lambda spec: isinstance(spec.manifests[0].manifests[0].manifests[0], ImageSpec),
    ),
    "nested platforms": (
        text('nested = 2\nplatforms = ["linux/amd64", "linux/arm64"]'),
        lambda spec: len(spec.manifests) == 1 and len(spec.manifests[0].manifests) == 2,
    ),
    "wide": (text("wide = 50"), lambda spec: len(document(spec)["manifests"]) == 50),
    "twice": (
        text('platforms = ["linux/amd64", "linux/amd64"]'),
        lambda spec: len({x["digest"] for x in document(spec)["manifests"]}) == 2,
    ),
    "docker zstd": (
        text('form = "docker"', 'compression = "zstd"'),
        lambda spec: document(spec)["layers"][0]["mediaType"].endswith("diff.tar.zstd"),
    ),
    "schema1 unsigned": (
        text('form = "schema1"\nschema1 = "unsigned"\nempty_steps = 2\nrepeated = true'),
        lambda spec: (
            isinstance(spec, Schema1Spec)
            and "signatures" not in document(spec)
            and len(document(spec)["fsLayers"]) == 5
        ),
    ),
    "empty": (
        text(layer='empty = "bytes"\n[[image.layer]]\nempty = "stream"'),
        lambda spec: [layer.size for layer in spec.layers] == [0, 20],
    ),
    "deep": (
        text(layer='tree = "deep_dirs"\ncount = 40'),
        lambda spec: len(spec.layers[0].entries) == 41,
    ),
    "kinds": (text(layer='tree = "every_kind"'), lambda spec: len(spec.layers[0].entries) > 10),
    "whiteouts": (
        text('tree = "opaque_last"'),
        lambda spec: set(golden_tree(spec.layers)) >= {"d/own"} and len(spec.layers) == 2,
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_said_is_what_is_built(name: str) -> None:
    toml, holds = PLAIN[name]

    spec, told = spec_of(toml)
    again, _ = spec_of(toml)

    assert holds(spec)
    assert told == []
    assert again.digest == spec.digest


# Lies: (image keys, layer keys, what is told, what is true of the lying spec and not of the honest)


LIES: dict[str, tuple[str, str, Any]] = {
    "layer 0 of app/web has a false corrupt 'checksum'": (
        text(layer='lie = { corrupt = "checksum" }'),
        "",
        lambda spec: spec.layers[0].corrupt == "checksum",
    ),
    "labelled 'none'": (
        text(layer='lie = { labelled = "none" }'),
        "",
        lambda spec: document(spec)["layers"][0]["mediaType"].endswith("v1.tar"),
    ),
    "docker labelled": (
        text('form = "docker"', 'lie = { labelled = "zstd" }'),
        "labelled 'zstd'",
        lambda spec: document(spec)["layers"][0]["mediaType"].endswith("diff.tar.zstd"),
    ),
    "trailing_zeros 512": (
        text(layer="lie = { trailing_zeros = 512 }"),
        "",
        lambda spec: spec.layers[0].blob[-512:] == bytes(512),
    ),
    "data 'wrong'": (
        text(layer='lie = { data = "wrong" }'),
        "",
        lambda spec: "data" in document(spec)["layers"][0],
    ),
    "toc 'mode'": (
        text(layer='compression = "estargz"\nlie = { toc = "mode" }'),
        "",
        lambda spec: spec.layers[0].toc_lie == "mode",
    ),
    "encryption 'hmac'": (
        text(layer='encrypted = true\nlie = { encryption = "hmac" }'),
        "",
        lambda spec: spec.layers[0].encryption_lie == "hmac",
    ),
    "layer 0 of app/web unpacks to 1048576 bytes": (
        text(layer='bomb = "1MiB"'),
        "",
        lambda spec: spec.layers[0].entries[-1].name == "bomb",
    ),
    "layer 0 of app/web asks for a window of 2147483648 bytes": (
        text(layer='compression = "zstd"\nwindow = 31'),
        "",
        lambda spec: spec.layers[0].window == 31,
    ),
    "the manifest of app/web has /layers/0/size = 1e+30, /subject null, no /mediaType": (
        text(
            'lie = { set = { "manifest/layers/0/size" = 1e30 }, null = ["manifest/subject"], '
            'omit = ["manifest/mediaType"] }'
        ),
        "",
        lambda spec: document(spec)["layers"][0]["size"] == 1e30,
    ),
    "the config of app/web has no /os": (
        text('lie = { omit = ["config/os"] }'),
        "",
        lambda spec: "os" not in json.loads(spec.config),
    ),
    "the index of app/web has /manifests/0/size = 1": (
        text('platforms = ["linux/amd64"]\nlie = { set = { "index/manifests/0/size" = 1 } }'),
        "",
        lambda spec: document(spec)["manifests"][0]["size"] == 1,
    ),
    "the config of app/web has swapped diff_ids": (
        text('lie = { diff_ids = "swapped" }'),
        "",
        lambda spec: json.loads(spec.config)["rootfs"]["diff_ids"][0] == spec.layers[1].diff_id,
    ),
    "the config's descriptor of app/web has huge data": (
        text('lie = { config_data = "huge" }'),
        "",
        lambda spec: len(document(spec)["config"].get("data", "")) > 10 << 20,
    ),
    "the manifest of app/web has 5242880 bytes": (
        text('lie = { manifest_size = "5MiB" }'),
        "",
        lambda spec: spec.size == 5 << 20,
    ),
    "the schema 1 manifest of app/web has a wrong name": (
        text('form = "schema1"\nschema1 = "wrong_name"'),
        "",
        lambda spec: document(spec)["name"] == "other/name",
    ),
    "the schema 1 manifest of app/web has a bad signature": (
        text('form = "schema1"\nschema1 = "bad_signature"'),
        "",
        lambda spec: spec.signature == "bad",
    ),
    "schema 1 edited": (
        text('form = "schema1"\nlie = { omit = ["manifest/history"] }'),
        "the manifest of app/web has no /history",
        lambda spec: "history" not in document(spec),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_told_once_and_an_honest_world_lacks_it(name: str) -> None:
    toml, words, holds = LIES[name]

    false, told = spec_of(toml)
    true, told_honestly = spec_of(toml, honest=True)

    assert told == told_honestly
    assert len(told) == 1
    assert (words or name) in told[0]
    assert holds(false)
    assert not holds(true)


def test_a_lie_of_many_platforms_is_told_once() -> None:
    platforms = 'platforms = ["linux/amd64", "linux/arm64"]\n'
    spec, told = spec_of(text(platforms + 'lie = { diff_ids = "empty" }', 'bomb = "1KiB"'))

    assert len(told) == 2
    assert [json.loads(x.config)["rootfs"]["diff_ids"] for x in spec.images] == [[], []]


@pytest.mark.parametrize("kind", EVIL)
def test_every_hostile_layer_has_an_honest_neighbour(kind: str) -> None:
    toml = text(layer=f'[[image.layer]]\nevil = "{kind}"')

    false, told = spec_of(toml)
    true, _ = spec_of(toml, honest=True)

    assert len(told) == 1
    assert told[0].startswith("layer 1 of app/web: ")
    assert "after" in golden_tree(true.layers)
    assert [x.digest for x in false.layers] != [x.digest for x in true.layers]
    assert "fakeregistry-canary" not in str(true.layers)


def test_hostile_layers_and_labels_aim_where_the_stage_says() -> None:
    with Registries() as registries:

        class Judge:
            outside = Path("/a/judge/outside")

            def registry(self, name: str = "origin") -> Any:
                return registries.registry(name)

        hostile = text('config.labels = { log = "binary://{canary}/x" }', 'evil = "absolute_path"')
        image = world(hostile, registries, stage=Judge()).images["app/web"]
        (layer,) = image.layers

    assert image.image("linux/amd64").labels == {"log": "binary:///a/judge/outside/x"}
    assert layer.entries[0].raw().name == "/a/judge/outside/absolute"


def test_layers_by_url_lie_at_the_registry_that_is_named() -> None:
    toml = '[[registry]]\nname = "cdn"\n' + text(layer='urls = ["cdn"]\nserved = false')
    with Registries() as registries:
        built = world(toml, registries)
        (layer,) = built.images["app/web"].layers
        (url,) = layer.urls
        host = registries.registry()

        assert url.startswith(registries.registry("cdn").base_url)
        assert httpx.get(url, trust_env=False).content == layer.blob
        own = host.url_for(f"/v2/app/web/blobs/{layer.digest}")
        assert httpx.get(own, trust_env=False).status_code == 404


def test_a_subject_is_found_among_the_referrers() -> None:
    toml = text('id = "app"') + text('id = "note"\ntag = "n"\nsubject = "app"\nartifact = "x/y"')
    with Registries() as registries:
        built = world(toml, registries)
        app, note = (built.images[name] for name in ("app", "note"))
        url = registries.registry().url_for(f"/v2/app/web/referrers/{app.digest}")

        (listed,) = httpx.get(url, trust_env=False).json()["manifests"]
        assert (listed["digest"], listed["artifactType"]) == (note.digest, "x/y")


def test_everything_of_an_odd_index_is_served() -> None:
    toml = text('nested = 2\nwide = 5\nattestation = "last"\nplatforms = ["linux/amd64"]')
    with Registries() as registries:
        spec = world(toml, registries).images["app/web"].spec
        assert isinstance(spec, IndexSpec)
        for item in spec.objects():
            kind = "manifests" if item.kind == "manifest" else "blobs"
            url = registries.registry().url_for(f"/v2/app/web/{kind}/{item.digest}")
            assert digest_of(httpx.get(url, trust_env=False).content) == item.digest


# Mistakes


MISTAKES: list[tuple[str, str]] = [
    (text('schema1 = "unsigned"'), 's.toml:2: schema1 goes with form = "schema1" only'),
    (text("empty_steps = 1"), 's.toml:2: empty_steps goes with form = "schema1" only'),
    (text('form = "schema1"\nnested = 2'), "s.toml:3: nested is nothing that a schema1 image can"),
    (text('form = "docker"\nencrypted = true'), 's.toml:3: encrypted layers go with form = "oci"'),
    (text('sha512 = ["layer"]'), "s.toml:2: sha512 = 'layer' is unknown: did you mean 'layers'?"),
    (text('attestation = "frst"'), "attestation = 'frst' is unknown: did you mean 'first'?"),
    (text("nested = 5000"), "s.toml:2: nested = 5000: at most 1000"),
    (text("wide = 500000"), "s.toml:2: wide = 500000: at most 200000"),
    (text('subject = "ap"'), "s.toml:2: there is no image 'ap' before this"),
    (text('tree = "opaque_lst"'), "tree = 'opaque_lst' is unknown: did you mean 'opaque_last'?"),
    (text('tree = "opaque_last"\nlayers = 3'), "s.toml:2: tree makes two layers of its own"),
    (
        text('lie = { omit = ["manifst/layers"] }'),
        "begins with no document: did you mean 'manifest'",
    ),
    (
        text('lie = { omit = ["manifest/layrs"] }'),
        "a manifest has no 'layrs': did you mean 'layers'",
    ),
    (text('lie = { omit = ["manifest"] }'), "say where in the manifest, as in manifest/mediaType"),
    (text('lie = { set = { "index/x" = 1 } }'), "there is no index: say platforms, nested, wide"),
    (text('lie = { set = ["x"] }'), "it must be a table of values"),
    (
        text('lie = { diff_ids = "swaped" }'),
        "diff_ids = 'swaped' is unknown: did you mean 'swapped'",
    ),
    (text("lie = { manifst_size = 1 }"), "unknown key 'manifst_size' in [image.lie]: did you mean"),
    (text('config = { omit = ["oss"] }'), "a configuration has no 'oss': did you mean 'os'?"),
    (
        text("config = { label = {} }"),
        "unknown key 'label' in [image.config]: did you mean 'labels'",
    ),
    (text("annotations = { a = 1 }"), "it must be a table of texts"),
    (text(layer='evil = "simlink_escape"'), "is unknown: did you mean 'symlink_escape'?"),
    (text(layer='evil = "whiteout_through_symlink"'), "needs another layer before it"),
    (text(layer='evil = "dot_dot"\ncompression = "estargz"'), "evil doesn't go with estargz"),
    (text(layer='evil = "dot_dot"\nsize = 5'), "size and evil: a layer has one content"),
    (text(layer='text = "x"\ncompression = "zstd"'), "a layer of text is served as it is"),
    (text(layer="window = 31"), 'window goes with compression = "zstd" only'),
    (text(layer='window = 50\ncompression = "zstd"'), "a zstd window has at most 41 bits"),
    (text(layer='members = 2\ncompression = "estargz"'), "estargz decides about its members"),
    (text(layer="level = 10"), "level = 10: gzip has 0 to 9"),
    (text(layer='lie = { toc = "mode" }'), "lie.toc goes with compression = estargz, zstd:chunked"),
    (
        text(layer='compression = "none"\nlie = { corrupt = "magic" }'),
        "this layer isn't compressed",
    ),
    (text(layer='lie = { corrupt = "crc" }'), "corrupt = 'crc' is unknown"),
    (text(layer='lie = { labeled = "gzip" }'), "unknown key 'labeled' in [image.layer.lie]"),
    (text(layer='compression = "estarz"'), "is unknown: did you mean 'estargz'?"),
    (text(layer='tree = "deep_dirs"\ncount = 9999'), "count = 9999: at most 5000"),
    (text(layer='urls = ["cnd"]', more='[[registry]]\nname = "cdn"'), "there is no registry 'cnd'"),
    (text('form = "docker"', "encrypted = true"), 'encrypted layers go with form = "oci" only'),
]


@pytest.mark.parametrize(("toml", "words"), MISTAKES)
def test_each_mistake_is_one_line(toml: str, words: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        read(Source.of_text("s.toml", toml))

    assert len(raised.value.problems) == 1
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (text("manifest_size = 5"), "can't be filled up to 5"),
        (text('lie = { omit = ["manifest/subject"] }'), "nothing at /subject to leave out"),
        (text('lie = { set = { "manifest/layers/9/size" = 1 } }'), "'9' leads nowhere"),
        (text(layer='evil = "long_names"\ntar = "ustar"'), "plain ustar can't hold the entry"),
    ],
)
def test_what_cannot_be_made_is_said_with_its_line(toml: str, words: str) -> None:
    with (
        Registries() as registries,
        pytest.raises(ScenarioError, match="app/web can't be made") as e,
    ):
        world(toml, registries)

    assert words in str(e.value)
    assert str(e.value).startswith("s:1: ")


@pytest.mark.parametrize("toml", [x for x, _ in PLAIN.values()] + [x for x, _, _ in LIES.values()])
def test_the_schema_knows_all_that_is_read(toml: str) -> None:
    VALIDATOR.validate(tomllib.loads(toml))


@pytest.mark.parametrize("tree", IMAGE_TREES)
def test_every_tree_can_be_asked_for(tree: str) -> None:
    spec, told = spec_of(text(f'tree = "{tree}"'))

    assert (len(spec.layers), told) == (2, [])
    assert golden_tree(spec.layers)
