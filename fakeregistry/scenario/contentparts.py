"""Reads ``[[image]]`` and ``[[image.layer]]``: what a registry has, and what is false about it."""

from typing import Any, cast, get_args

from fakeregistry.content import (
    CORRUPTIONS,
    DIFF_IDS,
    EMBEDDED,
    EMPTY,
    ENCRYPTION_LIES,
    EVIL,
    SCHEMA1_FORMS,
    TOC_LIES,
    whiteout_orders,
)
from fakeregistry.content.mediatypes import Codec, Compression
from fakeregistry.content.tar import Format

from .contentmodel import PARTS, TREES, ConfigPart, ImagePart, LayerPart
from .reader import Table, suggestion

COMPRESSIONS: tuple[str, ...] = get_args(Compression)
CODECS: tuple[str, ...] = get_args(Codec)
TAR_FORMS: tuple[str, ...] = get_args(Format)
IMAGE_TREES = (*whiteout_orders(), "replacements")
FALSE_DATA = tuple(how for how in EMBEDDED if how != "good")

LIE_SIZES = ("size", "cut", "trailing_zeros")
LIE_TEXTS = ("digest", "media_type", "diff_id", "trailing")
LIE_CHOICES: dict[str, tuple[str, ...]] = {
    "labelled": CODECS,
    "data": FALSE_DATA,
    "corrupt": CORRUPTIONS,
    "toc": TOC_LIES,
    "encryption": ENCRYPTION_LIES,
}
LIES = (
    "size",
    "digest",
    "media_type",
    "labelled",
    "data",
    "diff_id",
    "cut",
    "trailing",
    "trailing_zeros",
    "corrupt",
    "toc",
    "encryption",
)
IMAGE_LIES = ("set", "omit", "null", "diff_ids", "config_data", "manifest_size")

DOCUMENTS: dict[str, tuple[str, ...]] = {
    "manifest": (
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "subject",
        "annotations",
        "name",
        "tag",
        "architecture",
        "fsLayers",
        "history",
    ),
    "config": (
        "created",
        "architecture",
        "os",
        "os.version",
        "os.features",
        "variant",
        "config",
        "rootfs",
        "history",
    ),
    "index": ("schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"),
}
"""The documents of an image with the keys that they have."""

ENOUGH_LAYERS = 1000
"""Far more than any builder makes: a typo of 200000 layers shall not fill the memory."""
ENOUGH_NESTED = 1000
ENOUGH_WIDE = 200_000
_INDEXABLE = ("estargz", "zstd:chunked")
_LEVELS: dict[str, tuple[int, int]] = {
    "none": (0, 0),
    "gzip": (0, 9),
    "zstd": (1, 19),
    "xz": (0, 9),
    "bz2": (1, 9),
    "estargz": (0, 9),
    "zstd:chunked": (1, 19),
}


class LayerReader:
    """Reads one ``[[image.layer]]``."""

    def __init__(self, table: Table, number: int, size: int, form: str) -> None:
        self.table = table
        self.number = number
        self.size = size
        self.docker = form != "oci"

    def read(self) -> LayerPart:
        """The layer; what is wrong with it becomes problems of the file."""
        table = self.table
        same_as = table.integer("same_as")
        if same_as is not None and same_as >= self.number:
            table.problem("same_as", f"same_as = {same_as}: only an earlier layer can be repeated")
        lie = self._lie(table.table("lie"))
        self._one_content()
        if table.has("text") and table.has("compression"):
            table.problem("compression", "a layer of text is served as it is, not compressed")
        part = LayerPart(
            size=table.size("size", self.size),
            compression=cast(Any, table.choice("compression", COMPRESSIONS, "gzip")),
            members=table.integer("members", 1, least=1) or 1,
            level=table.integer("level"),
            window=table.integer("window", least=10),
            tar=cast(Any, table.choice("tar", TAR_FORMS, "pax")),
            same_as=same_as,
            text=table.text("text") or None,
            tree=table.choice("tree", TREES, "") or None,
            count=table.integer("count", LayerPart.count) or 0,
            empty=cast(Any, table.choice("empty", EMPTY, "") or None),
            evil=table.choice("evil", tuple(EVIL), "") or None,
            bomb=table.size("bomb", 0) or None,
            media_type=table.text("media_type") or None,
            urls=table.texts("urls"),
            foreign=table.flag("foreign"),
            served=table.flag("served", True),
            data=table.flag("data"),
            sha512=table.flag("sha512"),
            encrypted=table.flag("encrypted"),
            annotations=table.named_texts("annotations"),
            lie=lie,
        )
        self._check(part)
        table.finish()
        return part

    def _lie(self, lies: Table | None) -> dict[str, Any]:
        if lies is None:
            return {}
        lie: dict[str, Any] = {}
        for key in LIES:
            if not lies.has(key):
                continue
            if key in LIE_SIZES:
                lie[key] = lies.size(key, 0)
            elif key in LIE_TEXTS:
                lie[key] = lies.text(key)
            else:
                lie[key] = lies.choice(key, LIE_CHOICES[key], "") or None
        lies.finish(LIES)
        return {key: value for key, value in lie.items() if value is not None}

    def _one_content(self) -> None:
        said = [key for key in ("size", "text", "tree", "empty", "evil") if self.table.has(key)]
        if len(said) > 1:
            self.table.problem(said[1], f"{' and '.join(said)}: a layer has one content")

    def _check(self, part: LayerPart) -> None:
        problem, how = self.table.problem, part.compression
        if part.count > _most(part.tree):
            problem("count", f"count = {part.count}: at most {_most(part.tree)}")
        if part.members > 1 and how in _INDEXABLE:
            problem("members", f"{how} decides about its members by itself")
        if part.window is not None and how != "zstd":
            problem("window", 'window goes with compression = "zstd" only')
        if part.window is not None and part.window > 41:
            problem("window", f"window = {part.window}: a zstd window has at most 41 bits")
        if part.evil and how in _INDEXABLE:
            problem("evil", f"evil doesn't go with {how}, which describes sound files only")
        if part.evil in _WITH_BELOW and self.number == 0:
            problem("evil", f"{part.evil} needs another layer before it")
        least, most = _LEVELS[how]
        if part.level is not None and not least <= part.level <= most:
            problem("level", f"level = {part.level}: {how} has {least} to {most}")
        if part.encrypted and self.docker:
            problem("encrypted", 'encrypted layers go with form = "oci" only')
        lie = part.lie
        if "toc" in lie and how not in _INDEXABLE:
            problem("lie", f"lie.toc goes with compression = {', '.join(_INDEXABLE)} only")
        if lie.get("corrupt", "cut") != "cut" and how == "none":
            problem("lie", f"lie.corrupt = {lie['corrupt']!r}: this layer isn't compressed")


_WITH_BELOW = frozenset(kind for kind, make in EVIL.items() if make("/canary").below)


def _most(tree: str | None) -> int:
    # A deep tree names every folder on the way at each step: its bytes grow with the square.
    return 5_000 if tree == "deep_dirs" else 1_000_000


class ImageReader:
    """Reads one ``[[image]]``, whose registries and earlier images have been read before."""

    def __init__(self, table: Table, earlier: tuple[ImagePart, ...]) -> None:
        self.table = table
        self.earlier = earlier

    def read(self, registries: tuple[str, ...]) -> ImagePart:
        """The image; what is wrong with it becomes problems of the file."""
        table = self.table
        name = table.text("name", "app/web")
        form = table.choice("form", ("oci", "docker", "schema1"), "oci")
        part = ImagePart(
            id=table.text("id") or name,
            name=name,
            tag=table.text("tag", "v1"),
            registry=registries,
            layers=self._layers(form),
            platforms=table.texts("platforms"),
            form=cast(Any, form),
            schema1=cast(Any, table.choice("schema1", SCHEMA1_FORMS, "signed")),
            empty_steps=table.integer("empty_steps", 0) or 0,
            repeated=table.flag("repeated"),
            tree=table.choice("tree", IMAGE_TREES, "") or None,
            annotations=table.named_texts("annotations"),
            config=self._config(table.table("config")),
            artifact=table.text("artifact") or None,
            subject=table.text("subject") or None,
            media_type=table.flag("media_type", True),
            manifest_size=table.size("manifest_size", 0) or None,
            sha512=table.texts("sha512"),
            encrypted=table.flag("encrypted"),
            attestation=cast(Any, table.choice("attestation", ("first", "last"), "") or None),
            attestation_served=table.flag("attestation_served", True),
            nested=table.integer("nested", 0) or 0,
            wide=table.integer("wide", 0) or 0,
            ns=table.text("ns"),
            lie=self._lie(table.table("lie")),
            line=table.line,
        )
        self._check(part)
        table.finish()
        return part

    def _layers(self, form: str) -> tuple[LayerPart, ...]:
        table = self.table
        tables = table.tables("layer")
        count = table.integer("layers", None)
        size = table.size("size", LayerPart.size)
        tree = table.has("tree")
        if tables and count is not None:
            table.problem("layers", "layers and [[image.layer]] exclude each other")
        if tree and (tables or count is not None):
            table.problem("tree", "tree makes two layers of its own: leave layers out")
        if tables and not tree:
            readers = (LayerReader(one, n, size, form) for n, one in enumerate(tables))
            return tuple(reader.read() for reader in readers)
        number = 2 if count is None or tree else count
        if number > ENOUGH_LAYERS:
            table.problem("layers", f"layers = {number}: at most {ENOUGH_LAYERS}")
            number = 1
        return tuple(LayerPart(size=size) for _ in range(number))

    def _config(self, table: Table | None) -> ConfigPart:
        if table is None:
            return ConfigPart()
        part = ConfigPart(
            type=table.text("type") or None,
            labels=table.named_texts("labels"),
            labels_size=table.size("labels_size", 0),
            fields=table.values("fields"),
            omit=table.texts("omit"),
            data=table.flag("data"),
        )
        for key in part.omit:
            if key not in DOCUMENTS["config"]:
                near = suggestion(key, DOCUMENTS["config"])
                table.problem("omit", f"a configuration has no {key!r}{near}")
        table.finish()
        return part

    def _lie(self, lies: Table | None) -> dict[str, Any]:
        if lies is None:
            return {}
        lie: dict[str, Any] = {
            "set": lies.values("set"),
            "omit": lies.texts("omit"),
            "null": lies.texts("null"),
            "diff_ids": lies.choice("diff_ids", DIFF_IDS, ""),
            "config_data": lies.choice("config_data", FALSE_DATA, ""),
            "manifest_size": lies.size("manifest_size", 0),
        }
        for key in ("set", "omit", "null"):
            for place in lie[key]:
                self._place(lies, key, place)
        lies.finish(IMAGE_LIES)
        return {key: value for key, value in lie.items() if value}

    def _place(self, lies: Table, key: str, place: str) -> None:
        document, slash, rest = place.partition("/")
        if document not in DOCUMENTS:
            near = suggestion(document, DOCUMENTS)
            lies.problem(key, f"{place!r} begins with no document{near}")
        elif not slash or not rest:
            lies.problem(key, f"{place!r}: say where in the {document}, as in {document}/mediaType")
        elif key != "set" and (first := rest.partition("/")[0]) not in DOCUMENTS[document]:
            near = suggestion(first, DOCUMENTS[document])
            lies.problem(key, f"{place!r}: a {document} has no {first!r}{near}")

    def _check(self, part: ImagePart) -> None:
        problem = self.table.problem
        for platform in part.platforms:
            if platform.count("/") not in (1, 2):
                problem("platforms", f"{platform!r} isn't os/architecture[/variant]")
        for key in part.sha512:
            if key not in PARTS:
                problem("sha512", f"sha512 = {key!r} is unknown{suggestion(key, PARTS)}")
        if part.nested > ENOUGH_NESTED:
            problem("nested", f"nested = {part.nested}: at most {ENOUGH_NESTED}")
        if part.wide > ENOUGH_WIDE:
            problem("wide", f"wide = {part.wide}: at most {ENOUGH_WIDE}")
        places = (*part.lie.get("set", ()), *part.lie.get("omit", ()), *part.lie.get("null", ()))
        if not part.is_index and any(place.startswith("index/") for place in places):
            problem("lie", "there is no index: say platforms, nested, wide or attestation")
        if part.subject is not None:
            self._check_subject(part)
        if part.encrypted and part.form != "oci":
            problem("encrypted", 'encrypted layers go with form = "oci" only')
        if part.form == "schema1":
            self._check_schema1(part)
        elif part.schema1 != "signed" or part.empty_steps or part.repeated:
            key = "schema1" if part.schema1 != "signed" else "empty_steps"
            problem(key, f'{key} goes with form = "schema1" only')

    def _check_subject(self, part: ImagePart) -> None:
        images = [image.id for image in self.earlier if image.form != "schema1"]
        if part.subject not in images:
            near = suggestion(str(part.subject), images)
            self.table.problem("subject", f"there is no image {part.subject!r} before this{near}")

    def _check_schema1(self, part: ImagePart) -> None:
        if len(part.platforms) > 1:
            self.table.problem(
                "platforms", "a schema1 image has one platform: there is no index of it"
            )
        for key in ("artifact", "subject", "attestation", "nested", "wide", "sha512"):
            if getattr(part, key):
                self.table.problem(key, f"{key} is nothing that a schema1 image can have")
