"""Objects that a rule names by their place in the file, where a fault takes bytes."""

import re
from pathlib import Path
from typing import Any

import pytest
from rawclient import Raw

from fakeregistry import Registries
from fakeregistry.scenario import ScenarioError, Source, build, load, read, read_rules
from fakeregistry.scenario.build import install

IMAGES = """
[[image]]
id = "one"
[[image]]
id = "two"
name = "app/two"
layers = 1
[[image]]
id = "many"
name = "app/many"
platforms = ["linux/amd64", "linux/arm64"]
[[rule]]
on = "blob"
image = "one"
layer = 0
"""


def served(folder: Path, fault: str, path: str = "blob", **headers: str) -> tuple[Any, bytes]:
    """The built world, and the body that a layer of the first image has in it."""
    file = folder / "world.toml"
    file.write_text(IMAGES + fault)
    with Registries() as registries:
        built = build(load(file), registries)
        digest = built.images["one"].layers[0].digest
        with Raw(registries.registry()) as raw:
            return built, raw.ask(f"/v2/app/web/blobs/{digest}", **headers).answer().body


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ('{ image = "two", layer = 0 }', lambda b: b.images["two"].layers[0].blob),
        ('{ other = { image = "two", layer = 0 } }', lambda b: b.images["two"].layers[0].blob),
        ("{ layer = 1 }", lambda b: b.images["one"].layers[1].blob),
        ('{ image = "two" }', lambda b: b.images["two"].manifest),
        ('{ image = "two", part = "config" }', lambda b: b.spec("two").config),
        ('{ image = "many" }', lambda b: b.images["many"].manifest),
        (
            '{ image = "many", part = "manifest", platform = "linux/arm64" }',
            lambda b: b.spec("many", "linux/arm64").manifest,
        ),
        (
            '{ image = "many", layer = 1, platform = "linux/arm64" }',
            lambda b: b.spec("many", "linux/arm64").layers[1].blob,
        ),
        ('"plain text"', lambda b: b"plain text"),
    ],
)
def test_an_object_is_served_in_place_of_another(tmp_path, value, wanted) -> None:
    built, body = served(tmp_path, f"swap = {value}")
    assert body == bytes(wanted(built))


def test_a_resume_gets_the_bytes_of_another_object(tmp_path) -> None:
    fault = 'other_content_from_offset = { other = { image = "two", layer = 0 }, n = 100 }'
    built, body = served(tmp_path, fault, Range="bytes=90-")
    own, other = built.images["one"].layers[0].blob, built.images["two"].layers[0].blob
    foreign = (bytes(other) * 9)[100 : len(own)]
    assert body == bytes(own[90:100]) + foreign


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{ image = "tow", layer = 0 }', "there is no image 'tow': did you mean 'two'?"),
        ('{ image = "two", layer = 1 }', "layer = 1: two has 1 layers, counted from 0"),
        ('{ image = "two", layr = 1 }', "unknown key 'layr': did you mean 'layer'?"),
        ('{ image = "two", part = "blob" }', "part 'blob' is unknown"),
        ('{ image = "two", part = "layer" }', "a layer is named by its number alone"),
        ('{ image = "two", part = "config", layer = 0 }', "a layer is named by its number alone"),
        ('{ image = "many", platform = "linux/s390x" }', "many has no platform 'linux/s390x'"),
        ("{ other = {} }", "an object is named by image, layer or part"),
        ("{ other = 5 }", "the name of an object such as"),
    ],
)
def test_a_wrong_name_is_told_with_its_line(tmp_path, value, message) -> None:
    file = tmp_path / "world.toml"
    file.write_text(f"{IMAGES}swap = {value}\n")
    with pytest.raises(ScenarioError, match=re.escape(message)) as caught:
        load(file)
    line = IMAGES.count("\n") + 1
    assert str(caught.value).startswith(f"{file}:{line}: swap")


def test_rules_that_come_later_name_objects_too(tmp_path) -> None:
    file = tmp_path / "world.toml"
    file.write_text("[[image]]\n")
    with Registries() as registries:
        built = build(load(file), registries)
        rule = {"on": "manifest", "swap": {"layer": 1}}
        (part,) = read_rules(Source("rules", rule), built.scenario)
        install(built, part)
        with Raw(registries.registry()) as raw:
            assert raw.ask("/v2/app/web/manifests/v1").answer().body == bytes(
                built.images["app/web"].layers[1].blob
            )


def test_words_name_the_object() -> None:
    document = {"image": [{}], "rule": [{"on": "blob", "swap": {"layer": 1}}]}
    (rule,) = read(Source("w", document)).rules
    assert "layer 1 of app/web" in str(getattr(rule.faults[0], "other", ""))
