"""Objects that a rule names where a fault takes bytes: ``swap = { image = "other", layer = 1 }``.

A file knows their names; their bytes are there only once the world stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from fakeregistry.content import ImageSpec
from fakeregistry.faults import Fault
from fakeregistry.messages import Buffer

from .reader import suggestion

if TYPE_CHECKING:
    from .build import Built
    from .contentmodel import ImagePart

KEYS = ("image", "layer", "part", "platform")
PARTS = ("layer", "config", "manifest")

Finder = Callable[[Mapping[str, Any]], "ObjectPart"]
"""Reads the table that names an object; ValueError says what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class ObjectPart:
    """One object of the file's world: a layer by number, or an image's config or manifest."""

    image: str
    part: Literal["layer", "config", "manifest"]
    layer: int = 0
    platform: str | None = None

    def __str__(self) -> str:
        what = f"layer {self.layer}" if self.part == "layer" else self.part
        return f"{what} of {self.image}"

    def __len__(self) -> int:
        """Faults ask whether there are bytes at all: there will be."""
        return 1


def object_of(value: Mapping[str, Any], images: Sequence[ImagePart]) -> ObjectPart:
    """Read a table that names an object; ValueError says what is wrong with it."""
    if not value:
        raise ValueError("an object is named by image, layer or part")
    for key in value:
        if key not in KEYS:
            raise ValueError(f"unknown key {key!r}{suggestion(key, KEYS)}")
    named = value.get("image", images[0].id if images else "")
    image = next((image for image in images if image.id == named), None)
    if image is None:
        near = suggestion(str(named), [image.id for image in images])
        raise ValueError(f"there is no image {named!r}{near}")
    layer, platform = value.get("layer"), value.get("platform")
    part = value.get("part", "manifest" if layer is None else "layer")
    if part not in PARTS:
        raise ValueError(f"part {part!r} is unknown{suggestion(str(part), PARTS)}")
    if (part == "layer") != (layer is not None):
        raise ValueError("a layer is named by its number alone, a config or manifest by part")
    if layer is not None and (type(layer) is not int or not 0 <= layer < len(image.layers)):
        raise ValueError(
            f"layer = {layer}: {image.id} has {len(image.layers)} layers, counted from 0"
        )
    if platform is not None and platform not in image.platforms:
        raise ValueError(
            f"{image.id} has no platform {platform!r}{suggestion(str(platform), image.platforms)}"
        )
    return ObjectPart(image.id, cast(Any, part), layer or 0, platform)


def resolved(fault: Fault, built: Built) -> Fault:
    """Return the fault with the bytes of the objects that it names."""
    given: Any = fault
    named = {
        item.name: _bytes(value, built)
        for item in dataclasses.fields(given)
        if isinstance(value := getattr(given, item.name), ObjectPart)
    }
    return cast(Fault, dataclasses.replace(given, **named)) if named else fault


def _bytes(part: ObjectPart, built: Built) -> Buffer:
    if part.part == "manifest" and part.platform is None:
        return built.images[part.image].manifest
    spec = built.spec(part.image, part.platform)
    if part.part == "layer":
        return spec.layers[part.layer].blob
    if part.part == "manifest":
        return spec.manifest
    if not isinstance(spec, ImageSpec):
        raise ValueError(f"{part.image} has no config: it is of schema 1")
    return spec.config
