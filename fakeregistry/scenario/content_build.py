"""Builds the content of a scenario: images and indexes as ``[[image]]`` says, true or false.

Every lie is a question to the *teller*: does this world have it? What comes out of it is a spec
like any other, frozen and the same for the same words.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fakeregistry.content import (
    OMIT,
    Edits,
    Entry,
    File,
    ImageSpec,
    Layer,
    LayerKey,
    Spec,
    a_bomb,
    a_document,
    a_layer,
    an_empty_layer,
    an_index,
    as_schema1,
    attested,
    deep_dirs,
    evil,
    many_files,
    many_hardlinks,
    many_opaques,
    nested_index,
    of_every_kind,
    replacements,
    whiteout_orders,
    wide_index,
    with_diff_ids,
)
from fakeregistry.content.evil import AFTER, DEFAULT_CANARY
from fakeregistry.content.index import IndexSpec
from fakeregistry.content.mediatypes import layer_type

from .contentmodel import ImagePart, LayerPart

DEFAULT_PLATFORM = "linux/amd64"

Told = Callable[[str], bool]
"""Whether this world has a lie, which the words tell: they complete 'in this world, …'."""


class ContentBuilder:
    """Makes the specs of a scenario's images, one after the other.

    ``told`` decides about each lie. ``url_of`` gives the URL at which a registry serves a layer
    outside of its API. ``canary`` is the folder at which hostile layers and labels aim.
    """

    def __init__(
        self, told: Told, url_of: Callable[[str, str], str], canary: str = DEFAULT_CANARY
    ) -> None:
        self.told = told
        self.url_of = url_of
        self.canary = canary
        self._made: dict[str, Spec] = {}

    def spec(self, part: ImagePart) -> Spec:
        """The content of one image. Raises ``ValueError`` for what can't be made."""
        made = self._spec(part, len(self._made))
        self._made[part.id] = made
        return made

    def _spec(self, part: ImagePart, number: int) -> Spec:
        platforms = part.platforms or (DEFAULT_PLATFORM,)
        false = _ImageLies(part, self.told)
        images = []
        for at, platform in enumerate(platforms):
            # Layers of two platforms, or of two images, are not the same in real life either.
            mark = "" if len(platforms) == 1 and number == 0 else f"{part.id} {platform}"
            if platform in platforms[:at]:
                mark += f" {at}"
            image = self._image(part, platform, mark, false)
            images.append(image)
        if part.form == "schema1":
            return self._schema1(part, images[0])
        return self._index(part, images, false) if part.is_index else images[0]

    def _image(self, part: ImagePart, platform: str, mark: str, false: "_ImageLies") -> ImageSpec:
        config = part.config
        labels = {
            name: text.replace("{canary}", self.canary) for name, text in config.labels.items()
        }
        if config.labels_size:
            labels["large"] = " " * config.labels_size
        subject: Any = None if part.subject is None else self._made[part.subject]
        image = ImageSpec(
            layers=tuple(self._layers(part, mark, false)),
            platform=platform,
            docker=part.form != "oci",
            annotations=part.annotations,
            labels=labels,
            config_fields={**config.fields, **dict.fromkeys(config.omit, OMIT)},
            config_declared={} if config.type is None else {"mediaType": config.type},
            config_algorithm="sha512" if "config" in part.sha512 else "sha256",
            config_embed=config.data,
            artifact_type=part.artifact,
            subject=subject,
            manifest_size=part.manifest_size,
            algorithm="sha512" if "manifest" in part.sha512 else "sha256",
        )
        return false.of_image(image)

    def _index(self, part: ImagePart, images: list[ImageSpec], false: "_ImageLies") -> IndexSpec:
        docker = part.form != "oci"
        index = an_index(*images, docker=docker)
        if part.attestation is not None:
            index = attested(*images, where=part.attestation, served=part.attestation_served)
            index = replace(index, docker=docker)
        if part.wide:
            index = wide_index(*index.manifests, count=part.wide, docker=docker)
        if part.nested:
            within = index if part.platforms or part.wide or part.attestation else images[0]
            depth = part.nested if within is images[0] else part.nested - 1
            index = nested_index(within, depth, docker=docker) if depth else index
        algorithm: Any = "sha512" if "index" in part.sha512 else "sha256"
        edits = false.edits("index", part.media_type)
        return replace(index, algorithm=algorithm, edit=edits or None)

    def _schema1(self, part: ImagePart, image: ImageSpec) -> Spec:
        form = part.schema1
        if form not in ("signed", "unsigned"):
            words = f"the schema 1 manifest of {part.id} has a {form.replace('_', ' ')}"
            form = form if self.told(words) else "signed"
        # The document is schema 1's own: an edit of the manifest is one of that.
        made = as_schema1(
            replace(image, edit=None),
            form,
            empty_steps=part.empty_steps,
            repeated=part.repeated,
        )
        return made if image.edit is None else replace(made, edit=image.edit)

    # layers

    def _layers(self, part: ImagePart, mark: str, false: "_ImageLies") -> list[Layer]:
        if part.tree is not None:
            pair = replacements() if part.tree == "replacements" else whiteout_orders()[part.tree]
            return [_marked(layer, mark) for layer in pair]
        made: list[Layer] = []
        for number, layer in enumerate(part.layers):
            if layer.same_as is not None:
                made.append(made[layer.same_as])
                continue
            one = self._content(part, layer, number, made, false)
            made.append(self._dressed(part, layer, number, _marked(one, mark), false))
        return made

    def _content(
        self,
        part: ImagePart,
        layer: LayerPart,
        number: int,
        made: list[Layer],
        false: "_ImageLies",
    ) -> Layer:
        """What is in a layer, before it is compressed."""
        if layer.text is not None:
            return a_document(layer.text, layer.media_type or "text/plain")
        if layer.evil is not None:
            told = evil(layer.evil, canary=self.canary)
            lies = false.has(f"layer {number} of {part.id}: {told.words}")
            below = told.below if lies else told.sound_below
            if below:
                made[-1] = replace(made[-1], entries=(*made[-1].entries, *below))
            one = told.layer if lies else told.sound
        elif layer.tree is not None:
            one = _tree(layer.tree, layer.count)
        elif layer.empty is not None:
            one = an_empty_layer(layer.empty)
        else:
            one = a_layer(number, size=layer.size, compression=layer.compression)
        if layer.bomb is not None:
            words = f"layer {number} of {part.id} unpacks to {layer.bomb} bytes"
            one = a_bomb(one, layer.bomb) if false.has(words) else one
        return one

    def _dressed(
        self, part: ImagePart, layer: LayerPart, number: int, one: Layer, false: "_ImageLies"
    ) -> Layer:
        """The layer in its compressed form and with its descriptor, lies too."""
        encrypted = layer.encrypted or part.encrypted
        sha512 = layer.sha512 or "layers" in part.sha512
        one = replace(
            one,
            docker=part.form != "oci",
            compression="none" if layer.text is not None else layer.compression,
            members=layer.members,
            level=one.level if layer.level is None else layer.level,
            form=layer.tar,
            urls=tuple(self._url(part, url, number) for url in layer.urls),
            foreign=layer.foreign,
            served=layer.served,
            embed=layer.data,
            algorithm="sha512" if sha512 else "sha256",
            encrypted=LayerKey() if encrypted else None,
            annotations=layer.annotations,
        )
        if layer.media_type is not None:
            one = replace(one, declared={**one.declared, "mediaType": layer.media_type})
        words = f"layer {number} of {part.id}"
        if layer.window is not None:
            asks = f"{words} asks for a window of {2**layer.window} bytes"
            one = replace(one, window=layer.window) if false.has(asks) else one
        if layer.lie:
            said = ", ".join(f"{key} {value!r}" for key, value in layer.lie.items())
            one = _lying(one, layer) if false.has(f"{words} has a false {said}") else one
        return one

    def _url(self, part: ImagePart, url: str, number: int) -> str:
        return url if "://" in url else self.url_of(url, f"{part.id}-{number}".replace("/", "-"))


class _ImageLies:
    """The lies of one image: each is told once, whatever number of platforms has it."""

    def __init__(self, part: ImagePart, told: Told) -> None:
        self.part = part
        self._told = told
        self._known: dict[str, bool] = {}

    def has(self, words: str) -> bool:
        """Whether this world has that lie."""
        if words not in self._known:
            self._known[words] = self._told(words)
        return self._known[words]

    def edits(self, document: str, media_type: bool = True) -> Edits:
        """What is changed in one of the image's documents."""
        lie, start = self.part.lie, f"{document}/"
        changes = Edits(
            {
                place[len(document) :]: value
                for place, value in lie.get("set", {}).items()
                if place.startswith(start)
            },
            tuple(
                place[len(document) :] for place in lie.get("omit", ()) if place.startswith(start)
            ),
            tuple(
                place[len(document) :] for place in lie.get("null", ()) if place.startswith(start)
            ),
        )
        if changes and not self.has(f"the {document} of {self.part.id} {_words(changes)}"):
            changes = Edits()
        if not media_type and "/mediaType" not in changes.omit:
            changes = replace(changes, omit=("/mediaType", *changes.omit))
        return changes

    def of_image(self, image: ImageSpec) -> ImageSpec:
        """The image with all that is false about its manifest and config."""
        part, lie = self.part, self.part.lie
        docker_schema1 = part.form == "schema1"
        manifest = self.edits("manifest", part.media_type or docker_schema1)
        config = self.edits("config")
        if manifest:
            image = replace(image, edit=manifest)
        if config:
            image = replace(image, config_edit=config)
        how = lie.get("diff_ids")
        if how and self.has(f"the config of {part.id} has {how.replace('_', ' ')} diff_ids"):
            image = with_diff_ids(image, how)
        how = lie.get("config_data")
        if how and self.has(f"the config's descriptor of {part.id} has {how} data"):
            image = replace(image, config_embed=how)
        size = lie.get("manifest_size")
        if size and self.has(f"the manifest of {part.id} has {size} bytes"):
            image = replace(image, manifest_size=size)
        return image


def _words(edits: Edits) -> str:
    said = [f"{place} = {value!r}" for place, value in edits.set.items()]
    said += [f"{place} null" for place in edits.null]
    said += [f"no {place}" for place in edits.omit]
    return "has " + ", ".join(said)


def _tree(name: str, count: int) -> Layer:
    many: dict[str, Callable[[int], Layer]] = {
        "deep_dirs": deep_dirs,
        "many_files": many_files,
        "many_hardlinks": many_hardlinks,
        "many_opaques": many_opaques,
    }
    return many[name](count) if name in many else of_every_kind()


def _marked(layer: Layer, mark: str) -> Layer:
    if not mark or layer.raw_tar is not None or layer.raw_blob is not None:
        return layer
    # What is hostile at an archive's end stays there.
    entries: tuple[Entry, ...] = (File("app/of", mark), *layer.entries)
    if layer.entries[-1:] != (AFTER,):
        entries = (*entries[1:], entries[0])
    return replace(layer, entries=entries)


def _lying(truth: Layer, part: LayerPart) -> Layer:
    lie = part.lie
    names = {"size": "size", "digest": "digest", "media_type": "mediaType"}
    declared = {names[key]: value for key, value in lie.items() if key in names}
    if "labelled" in lie:
        declared["mediaType"] = layer_type(lie["labelled"], docker=truth.docker)
    return replace(
        truth,
        declared={**truth.declared, **declared},
        declared_diff_id=lie.get("diff_id"),
        cut=lie.get("cut"),
        trailing=lie.get("trailing", "").encode() + bytes(lie.get("trailing_zeros", 0)),
        corrupt=lie.get("corrupt"),
        toc_lie=lie.get("toc"),
        encryption_lie=lie.get("encryption"),
        embed=lie.get("data", truth.embed),
    )
