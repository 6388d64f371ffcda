"""What a scenario file says, as frozen values: a world, a pull, and what is expected of it.

The registry builds the world; ``[pull]`` and ``[expect]`` (see `asked`) are only checked here, and
interpreted by whoever runs a puller. Fields are named as the keys of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fakeregistry.faults import Fault
from fakeregistry.wire import certificates

from .contentmodel import ImagePart

if TYPE_CHECKING:
    from .asked import ExpectPart, PullPart

TARGETS = (
    "blob",
    "config",
    "manifest",
    "token",
    "ping",
    "challenge",
    "upload",
    "redirect_target",
    "foreign_url",
    "tags",
    "referrers",
    "proxy",
    "any_request",
    "connection",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT")
TLS = certificates.FAULTS
LISTENING = ("open", "refuse", "blackhole")
ADDRESSES = ("127.0.0.1", "::1")
ITS_MANIFEST = "manifest"
"""For a target's ``digest``: that of the image's own manifest or index."""
WINDOWS = ("always", "once", "first", "nth", "after", "every")


@dataclass(frozen=True)
class IncidentPart:
    """``[incident]``: what happened in the field. Words for people; nothing acts on them.

    ``case``: the id of the case in code that plays it, where a table can't say the pull.
    """

    title: str
    id: str = ""
    did: str = ""
    wrong: str = ""
    right: str = ""
    links: tuple[str, ...] = ()
    case: str = ""


@dataclass(frozen=True)
class AuthPart:
    """How a registry asks who is there.

    ``user`` None (bearer only): tokens for anybody. ``realm``: the registry that hands them out.
    ``settings`` are arguments of `fakeregistry.basic` or `bearer`; those in ``lie`` come over them,
    and are left out of an honest world.
    """

    scheme: Literal["basic", "bearer"]
    user: str | None = None
    realm: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    lie: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class RegistryPart:
    """``[[registry]]``: one named host. ``tls`` None is plain http.

    A ``tls`` other than ``valid`` is a lie: an honest world has the valid certificate. So is a way
    of ``listening`` other than ``open``. ``address`` is where it listens, and
    ``http2`` whether it speaks HTTP/2, with so many streams at once: these are no lies. Neither are
    ``host``, the name by which it is called; ``prefix``, where its API stands; ``canary``, that
    nobody has any business with it; and ``proxy``, that it is a forward proxy (``[[proxy]]``).
    """

    name: str = "origin"
    tls: str | None = None
    client_certificate: bool = False
    auth: AuthPart | None = None
    listening: Literal["open", "refuse", "blackhole"] = "open"
    address: str = "127.0.0.1"
    http2: bool = False
    max_concurrent_streams: int | None = None
    host: str = ""
    prefix: str = ""
    canary: bool = False
    proxy: bool = False


@dataclass(frozen=True)
class TargetPart:
    """What requests are meant: shared by rules and by expectations.

    ``image`` is an image's id, ``layer`` counts from 0; None means any. ``digest`` names an object
    that the file doesn't have (pushed, or of a layout), or is `ITS_MANIFEST`: the image's manifest
    as if it were a blob. ``asking``: what is asked of the request beside, by the names of
    `fakeregistry.rules.conditions.Asking`.
    """

    on: str
    registry: str = "origin"
    image: str | None = None
    layer: int | None = None
    platform: str | None = None
    by: Literal["tag", "digest"] | None = None
    digest: str | None = None
    asking: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class RulePart:
    """``[[rule]]``: when, how often, and what. ``lie`` False: true in an honest world as well.

    ``per`` says what the window counts for: the rule, each digest, method, connection or client.
    ``name``: what other parts of the file call it by. ``around``: what is asked of the registry,
    by the names of `fakeregistry.rules.conditions.Conditions`.
    """

    target: TargetPart
    window: Literal["always", "once", "first", "nth", "after", "every"] = "always"
    count: int = 1
    per: str = "rule"
    faults: tuple[Fault, ...] = ()
    bait: bool = False
    lie: bool = True
    line: int = 0
    name: str = ""
    around: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Scenario:
    """A scenario file, read and checked. ``name`` is the file's name without its ending.

    ``path`` is empty where the scenario was in no file. ``pulls`` are the steps, in order; without
    ``[pull]`` there is none, and no ``expect``.
    """

    name: str
    path: Path
    incident: IncidentPart
    registries: tuple[RegistryPart, ...]
    images: tuple[ImagePart, ...]
    rules: tuple[RulePart, ...]
    pulls: tuple[PullPart, ...] = ()
    expect: ExpectPart | None = None

    @property
    def pull(self) -> PullPart | None:
        """The first step of the pull."""
        return self.pulls[0] if self.pulls else None

    def image(self, image_id: str) -> ImagePart:
        """The image with this id; ``KeyError`` where there is none."""
        for image in self.images:
            if image.id == image_id:
                return image
        raise KeyError(image_id)
