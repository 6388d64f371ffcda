"""Images and indexes of forms that not every puller has met: nested, wide, attested, no image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .descriptors import Document
from .edits import Edits
from .image import Edit, ImageSpec, an_attestation
from .index import Child, IndexSpec, an_index
from .layers import Layer
from .schema1 import HistoryEntry, Schema1Spec

DiffIds = Literal["missing", "extra", "swapped", "empty", "other_algorithm"]
"""What the config's list of diff_ids lacks or has too much of."""
DIFF_IDS: tuple[DiffIds, ...] = ("missing", "extra", "swapped", "empty", "other_algorithm")

Schema1Form = Literal["signed", "unsigned", "bad_signature", "wrong_name", "wrong_tag"]
SCHEMA1_FORMS: tuple[Schema1Form, ...] = (
    "signed",
    "unsigned",
    "bad_signature",
    "wrong_name",
    "wrong_tag",
)


def nested_index(spec: Child, depth: int, *, docker: bool = False) -> IndexSpec:
    """``depth`` indexes around a manifest or index, each the only entry of the one outside."""
    if depth < 1:
        raise ValueError(f"an index is nested at least once, not {depth} times")
    index = an_index(spec, docker=docker)
    for _ in range(depth - 1):
        index = an_index(index, docker=docker)
    return index


def wide_index(*images: Child, count: int, docker: bool = False) -> IndexSpec:
    """An index of ``count`` entries: those of other platforms first, these images last.

    The others are true images without layers, of architectures that no machine has.
    """
    others = [
        ImageSpec(platform=f"linux/other{number}", docker=docker)
        for number in range(count - len(images))
    ]
    return an_index(*others, *images, docker=docker)


def attested(
    *images: ImageSpec, where: Literal["first", "last"] = "last", served: bool = True
) -> IndexSpec:
    """An index of images, with an attestation of each before or behind them, as buildx makes it.

    ``served`` False: the registry has neither the attestations nor what is in them.
    """
    made: list[Child] = []
    for image in images:
        about = an_attestation(image)
        if not served:
            layers = tuple(replace(layer, served=False) for layer in about.layers)
            about = replace(about, layers=layers, served=False)
        made.append(about)
    return an_index(*(made + list(images) if where == "first" else list(images) + made))


def an_artifact(
    kind: str, layers: Sequence[Layer], *, subject: ImageSpec | None = None
) -> ImageSpec:
    """What is no image: ``artifactType`` and an empty config (image-spec, manifest.md)."""
    return ImageSpec(layers=tuple(layers), artifact_type=kind, subject=subject)


def a_document(text: str, media_type: str) -> Layer:
    """A layer of an artifact: this text, which is no tar, under this type."""
    data = text.encode()
    return Layer(
        raw_blob=data,
        raw_tar=data,
        salt_raw=True,
        compression="none",
        declared={"mediaType": media_type},
    )


def with_diff_ids(image: ImageSpec, how: DiffIds) -> ImageSpec:
    """The image, whose config says so of its layers."""
    return replace(image, config_edit=_DiffIds(how, image.config_edit))


@dataclass(frozen=True)
class _DiffIds:
    """Changes the true list when the config is written: salt has changed the layers until then."""

    how: DiffIds
    before: Edit | None

    def __call__(self, document: Document) -> Document:
        if self.before is not None:
            document = self.before(document) or document
        true: list[str] = document["rootfs"]["diff_ids"]
        false = {
            "missing": true[:-1],
            "extra": [*true, "sha256:" + "e" * 64],
            "swapped": true[1:] + true[:1],
            "empty": [],
            "other_algorithm": ["sha512:" + 2 * one.partition(":")[2] for one in true],
        }[self.how]
        return {**document, "rootfs": {**document["rootfs"], "diff_ids": false}}


def as_schema1(
    image: ImageSpec,
    form: Schema1Form = "signed",
    *,
    empty_steps: int = 0,
    repeated: bool = False,
) -> Schema1Spec:
    """The image as a schema 1 manifest.

    ``empty_steps``: so many throwaway steps after the first layer. ``repeated``: the first step
    stands there twice, with its layer, as some builders wrote it. ``wrong_name`` and ``wrong_tag``:
    the signed document is about another repository or tag.
    """
    steps = [HistoryEntry(layer) for layer in image.layers]
    empty = HistoryEntry(None, throwaway=True, command=("/bin/sh", "-c", "#(nop) CMD"))
    steps[1:1] = [empty] * empty_steps
    if repeated:
        steps[:0] = steps[:1]
    edits = {
        "wrong_name": Edits(set={"/name": "other/name"}),
        "wrong_tag": Edits(set={"/tag": "other-tag"}),
    }
    return Schema1Spec(
        image,
        signature="none" if form == "unsigned" else "bad" if form == "bad_signature" else "good",
        steps=tuple(steps) if empty_steps or repeated else None,
        edit=edits.get(form),
    )
