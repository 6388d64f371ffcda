"""Reads the parts of a world: registries, images, layers, and the targets that name them."""

import re
from dataclasses import replace
from typing import Any, cast

from fakeregistry.honest.routes import DIGEST

from .authparts import read_auth
from .conditionkeys import ASKING, asking_of
from .contentmodel import ImagePart
from .contentparts import ImageReader
from .model import (
    ADDRESSES,
    ITS_MANIFEST,
    LISTENING,
    TARGETS,
    TLS,
    RegistryPart,
    TargetPart,
)
from .reader import Source, Table, suggestion

_WITH_LAYER = ("blob", "redirect_target", "foreign_url")
_OF_REQUESTS = (
    "image",
    "layer",
    "platform",
    "by",
    "digest",
    *ASKING,
)
_WITH_DIGEST = (*_WITH_LAYER, "config", "manifest", "referrers")


_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class WorldReader:
    """One pass over one file; what was read before is there to check names against."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.registries: tuple[RegistryPart, ...] = ()
        self.images: tuple[ImagePart, ...] = ()

    @property
    def proxies(self) -> tuple[str, ...]:
        """The names of the proxies that were read."""
        return tuple(part.name for part in self.registries if part.proxy)

    def registry(self, table: Table) -> RegistryPart:
        """Read a ``[[registry]]``."""
        name = table.text("name", "origin")
        if not name or not name.replace("-", "").isalnum() or name != name.lower():
            table.problem("name", f"name = {name!r}: lower-case letters, digits and '-' only")
        tls: str | None = None
        if table.has("tls"):
            chosen = table.take("tls")
            if chosen is True or chosen in TLS:
                tls = "valid" if chosen is True else chosen
            elif chosen is not False:
                near = suggestion(str(chosen), TLS)
                table.problem("tls", f"tls = {chosen!r} is unknown{near}")
        part = RegistryPart(
            name,
            tls,
            table.flag("client_certificate"),
            read_auth(self.source, table),
            cast(Any, table.choice("listening", LISTENING, "open")),
            table.choice("address", ADDRESSES, "127.0.0.1"),
            table.flag("http2"),
            table.integer("max_concurrent_streams"),
            table.text("host"),
            table.text("prefix"),
            table.flag("canary"),
        )
        self._check_names_of(table, part)
        if tls is None:
            for key in ("http2", "max_concurrent_streams"):
                if table.has(key):
                    table.problem(key, f"{key} needs tls as well: HTTP/2 is chosen by ALPN")
        if part.client_certificate and tls is None:
            table.problem("client_certificate", "client_certificate needs tls as well")
        table.finish()
        return part

    def proxy(self, table: Table) -> RegistryPart:
        """Read a ``[[proxy]]``: a host like a registry, with less to say about it."""
        for key in ("prefix", "canary", "http2", "max_concurrent_streams"):
            if table.has(key):
                table.problem(key, f"a proxy has no {key}")
                table.take(key)
        named = table.has("name")
        part = replace(self.registry(table), proxy=True)
        part = part if named else replace(part, name="proxy")
        if part.auth is not None and part.auth.scheme != "basic":
            table.problem("auth", 'a proxy asks by "basic" alone')
        return part

    def _check_names_of(self, table: Table, part: RegistryPart) -> None:
        if part.host and not _HOST.fullmatch(part.host):
            table.problem("host", f"host = {part.host!r}: a host name, without a port")
        if part.prefix and not _PREFIX.fullmatch(part.prefix):
            table.problem("prefix", f"prefix = {part.prefix!r}: a path such as /v2/mirror")

    def image(self, table: Table, earlier: tuple[ImagePart, ...] = ()) -> ImagePart:
        """Read an ``[[image]]``; ``earlier`` are those that stand before it."""
        where = table.take("registry")
        registries = (where,) if isinstance(where, str) else tuple(where or ("origin",))
        for registry in registries:
            self.known_registry(table, "registry", registry)
            if registry in self.proxies:
                table.problem("registry", f"{registry!r} is a proxy: it has no images")
        part = ImageReader(table, earlier).read(registries)
        for layer in part.layers:
            for url in layer.urls:
                if "://" not in url:
                    self.known_registry(table, "layer", url)
        return part

    def target(self, table: Table) -> TargetPart:
        """Read the keys that say which requests are meant; the rest is left in the table."""
        named = table.has("on")
        on = table.choice("on", TARGETS, "")
        if not on and not named:
            table.problem("", f"a target needs on = one of {', '.join(TARGETS)}")
        usual = next(iter(self.proxies), "proxy") if on == "proxy" else "origin"
        registry = table.text("registry", usual)
        self.known_registry(table, "registry", registry)
        image = self.image_of(table)
        layer = table.integer("layer")
        if layer is not None and on not in _WITH_LAYER:
            table.problem("layer", f"layer goes with on = {', '.join(_WITH_LAYER)} only")
        elif layer is not None and image is not None and layer >= len(image.layers):
            table.problem(
                "layer",
                f"layer = {layer}: {image.id} has {len(image.layers)} layers, counted from 0",
            )
        if on == "connection":
            for key in _OF_REQUESTS:
                if table.has(key):
                    table.problem(key, f"{key} is about requests: on a connection is none yet")
        digest = self._digest_of(table, on, layer)
        by = table.choice("by", ("tag", "digest"), "") or None
        if by and on != "manifest":
            table.problem("by", "by goes with on = manifest only")
        return TargetPart(
            on=on,
            registry=registry,
            image=image.id if image and digest in (None, ITS_MANIFEST) else None,
            layer=layer,
            platform=self.platform_of(table, image),
            by=cast(Any, by),
            digest=digest,
            asking=asking_of(table),
        )

    def _digest_of(self, table: Table, on: str, layer: int | None) -> str | None:
        digest = table.text("digest") or None
        if digest is None:
            return None
        if on not in _WITH_DIGEST:
            table.problem("digest", f"digest goes with on = {', '.join(_WITH_DIGEST)} only")
        elif digest == ITS_MANIFEST and on == "blob" and self.images and layer is None:
            return digest
        elif layer is not None:
            table.problem("digest", "digest and layer exclude each other: both name one object")
        elif not DIGEST.fullmatch(digest):
            table.problem("digest", f"{digest!r} is no digest, such as sha256:…")
        return digest

    def image_of(self, table: Table) -> ImagePart | None:
        """The image that ``image`` names; the first one where nothing is named."""
        there = table.has("image")
        name = table.text("image")
        if not there:
            return self.images[0] if self.images else None
        for image in self.images:
            if image.id == name:
                return image
        near = suggestion(name, [image.id for image in self.images])
        table.problem("image", f"there is no image {name!r}{near}")
        return None

    def platform_of(self, table: Table, image: ImagePart | None) -> str | None:
        """The platform that ``platform`` names, which the image must have."""
        platform = table.text("platform") or None
        if platform and image and platform not in (image.platforms or ("linux/amd64",)):
            near = suggestion(platform, image.platforms or ("linux/amd64",))
            table.problem("platform", f"{image.id} has no platform {platform!r}{near}")
        return platform

    def known_registry(self, table: Table, key: str, name: object) -> None:
        """Make a problem of a registry that the file doesn't have."""
        names = [part.name for part in self.registries]
        if name not in names:
            near = suggestion(str(name), names)
            table.problem(key, f"there is no registry {name!r}{near}")

    def twice(self, top: Table, key: str, names: list[str]) -> None:
        """Make a problem of names that stand twice."""
        for name in sorted({name for name in names if names.count(name) > 1}):
            what = "an image's id" if key == "image" else f"a {key}'s name"
            top.problem(key, f"{name!r} is {what} twice")
