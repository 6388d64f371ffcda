"""What a scenario file says, as frozen values: a world, a pull, and what is expected of it.

The registry builds the world; ``[pull]`` and ``[expect]`` are only checked here, and interpreted
by whoever runs a puller. Fields are named as the keys of the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fakeregistry.faults import Fault

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
    "any_request",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TLS = ("valid", "expired", "not_yet_valid", "wrong_host", "unknown_ca", "self_signed")
WINDOWS = ("always", "first", "nth", "after", "every")
OUTCOMES = ("pulled", "refused", "either")

Outcome = Literal["pulled", "refused", "either"]


@dataclass(frozen=True)
class IncidentPart:
    """``[incident]``: what happened in the field. Words for people; nothing acts on them."""

    title: str
    id: str = ""
    did: str = ""
    wrong: str = ""
    right: str = ""
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuthPart:
    """How a registry asks who is there.

    ``user`` None (bearer only): tokens for anybody. ``realm``: the registry that hands them out.
    """

    scheme: Literal["basic", "bearer"]
    user: str | None = None
    realm: str | None = None


@dataclass(frozen=True)
class RegistryPart:
    """``[[registry]]``: one named host. ``tls`` None is plain http.

    A ``tls`` other than ``valid`` is a lie: an honest world has the valid certificate.
    """

    name: str = "origin"
    tls: str | None = None
    client_certificate: bool = False
    auth: AuthPart | None = None


@dataclass(frozen=True)
class LayerPart:
    """``[[image.layer]]``: one layer. ``same_as``: the number of an earlier layer to repeat.

    ``lie`` holds what an honest world leaves out: ``size``, ``digest``, ``media_type`` (in the
    descriptor), ``diff_id`` (in the config), ``cut`` and ``trailing`` (of the blob).
    """

    size: int = 3 * 1024
    compression: Literal["gzip", "none", "zstd"] = "gzip"
    members: int = 1
    same_as: int | None = None
    lie: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ImagePart:
    """``[[image]]``: content under ``name:tag`` at one or more registries.

    Several ``platforms`` make an index. ``form`` is ``oci``, ``docker`` or ``schema1``.
    """

    id: str
    name: str = "app/web"
    tag: str = "v1"
    registry: tuple[str, ...] = ("origin",)
    layers: tuple[LayerPart, ...] = (LayerPart(), LayerPart())
    platforms: tuple[str, ...] = ()
    form: Literal["oci", "docker", "schema1"] = "oci"


@dataclass(frozen=True)
class TargetPart:
    """What requests are meant: shared by rules and by expectations.

    ``image`` is an image's id, ``layer`` counts from 0; None means any. ``digest`` names an object
    that the file doesn't have: pushed, or of a layout. ``range`` and ``authorized``: only with, or
    only without, that header; ``header``: a name and its value, or whether it is there.
    """

    on: str
    registry: str = "origin"
    image: str | None = None
    layer: int | None = None
    platform: str | None = None
    by: Literal["tag", "digest"] | None = None
    method: str | None = None
    range: bool | None = None
    authorized: bool | None = None
    header: Mapping[str, str | bool] = field(default_factory=dict, hash=False)
    digest: str | None = None


@dataclass(frozen=True)
class RulePart:
    """``[[rule]]``: when, how often, and what. ``lie`` False: true in an honest world as well.

    ``per`` says what the window counts for: the rule, each digest, or each method.
    """

    target: TargetPart
    window: Literal["always", "first", "nth", "after", "every"] = "always"
    count: int = 1
    per: Literal["rule", "digest", "method"] = "rule"
    faults: tuple[Fault, ...] = ()
    bait: bool = False
    lie: bool = True
    line: int = 0


@dataclass(frozen=True)
class PullPart:
    """``[pull]``: what is asked of the puller.

    ``auth`` and ``trust`` say what it is given: ``right`` is what the world accepts; ``wrong``
    credentials are a lie. ``hosts``: registries to try before the image's own, in order. Times in
    seconds. ``parallel``: so many pulls of the image at once.
    """

    image: str = ""
    platform: str | None = None
    by_digest: bool = False
    auth: Literal["right", "wrong", "none"] = "right"
    trust: Literal["right", "none", "skip"] = "right"
    hosts: tuple[str, ...] = ()
    timeout: float | None = None
    progress_timeout: float | None = None
    max_concurrent_downloads: int | None = None
    parallel: int = 1


@dataclass(frozen=True)
class RequestsPart:
    """``[[expect.requests]]``: how many requests of a kind a registry may and must have seen."""

    target: TargetPart
    at_least: int | None = None
    at_most: int | None = None
    line: int = 0


@dataclass(frozen=True)
class ExpectPart:
    """``[expect]``: what a right puller does.

    ``content`` True: what was pulled is the image, byte for byte. ``untouched``: registries that
    see no connection. ``at_least_s`` / ``at_most_s``: bounds of one pull, margin included.
    """

    outcome: Outcome = "pulled"
    content: bool = False
    requests: tuple[RequestsPart, ...] = ()
    untouched: tuple[str, ...] = ()
    at_least_s: float | None = None
    at_most_s: float | None = None
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A scenario file, read and checked. ``name`` is the file's name without its ending.

    ``path`` is empty where the scenario was in no file.
    """

    name: str
    path: Path
    incident: IncidentPart
    registries: tuple[RegistryPart, ...]
    images: tuple[ImagePart, ...]
    rules: tuple[RulePart, ...]
    pull: PullPart | None
    expect: ExpectPart | None

    def image(self, image_id: str) -> ImagePart:
        """The image with this id; ``KeyError`` where there is none."""
        for image in self.images:
            if image.id == image_id:
                return image
        raise KeyError(image_id)
