"""Faults of content negotiation: what a registry makes of the types that a client accepts.

Registries read Accept by their own lights: `*/*` counts as "everything" for who is strict, and is
no sign of a client that knows indexes for who converts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fakeregistry.content import Schema1Spec, an_image
from fakeregistry.content.mediatypes import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from fakeregistry.messages import Content, error, with_header
from fakeregistry.rules.asking import Asked
from fakeregistry.script import Script

from .base import Faults, Setting, one_of

POLICIES = ("strict", "not_acceptable", "list_only_if_accepted", "schema1")
_INDEXES = frozenset({DOCKER_LIST, OCI_INDEX})
_MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
_USUAL = ("linux", "amd64")
_OF_CONFIG = ("architecture", "os", "variant", "config", "author", "created")
_DEPTH = 10
"""How many indexes may lie around each other."""


@dataclass(frozen=True)
class Negotiate:
    """Answer a manifest request by what Accept says of its type.

    "strict": 404 where the type isn't accepted; "not_acceptable": 406 there. By tag alone:
    "list_only_if_accepted": the image for linux/amd64, under its own digest, where no index type is
    named; "schema1": so too, and that image as signed schema 1 where no manifest type is named.
    """

    policy: str = "strict"

    def __post_init__(self) -> None:
        one_of("negotiate policy", self.policy, POLICIES)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse, choose or convert."""
        content = script.content
        by_tag = setting.facts.kind == "tag_manifest"
        if content is None or script.status != 200:
            return script
        if not by_tag and setting.facts.kind != "manifest":
            return script
        asked = Asked(setting.request.method, setting.request.headers)
        if self.policy in ("strict", "not_acceptable"):
            if accepts(asked, content.media_type):
                return script
            status = 404 if self.policy == "strict" else 406
            message = f"the manifest is {content.media_type}, which isn't accepted"
            said = error(status, "MANIFEST_UNKNOWN", message)
            return script.with_reply(said.status, said.headers, said.body)
        if not by_tag:
            return script
        chosen = content
        if not asked.accepted & _INDEXES:
            chosen = _one_image(content, setting.find)
        if self.policy == "schema1" and not asked.accepted & _MANIFESTS:
            chosen = _as_schema1(chosen, setting)
        return script if chosen is content else saying(script, chosen)


def accepts(asked: Asked, media_type: str) -> bool:
    """Whether Accept allows a type (RFC 9110, 12.5.1); without the header, it allows all."""
    if next(asked.header("accept"), None) is None:
        return True
    kind = media_type.partition("/")[0].lower()
    return bool(asked.accepted & {media_type.lower(), f"{kind}/*", "*/*"})


def saying(script: Script, content: Content) -> Script:
    """The script with another manifest, and the headers that are true of it."""
    headers = script.headers
    for name, value in (
        ("Content-Type", content.media_type),
        ("Docker-Content-Digest", content.digest or ""),
        ("ETag", f'"{content.digest}"'),
    ):
        headers = with_header(headers, name, value)
    return replace(script.with_body(content.data, 0), headers=headers, content=content)


def _one_image(content: Content, find: Callable[[str], Content | None]) -> Content:
    """The image for linux/amd64 of an index; what is no index, or has none, as it is."""
    found = content
    for _ in range(_DEPTH):
        entries = _document(found).get("manifests")
        if found.media_type not in _INDEXES or not isinstance(entries, list):
            return found
        digests = [str(one.get("digest")) for one in entries if _is_usual(one)]
        inner = next((one for digest in digests if (one := find(digest)) is not None), None)
        if inner is None:
            return content
        found = inner
    return content


def _is_usual(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        # An index inside an index says nothing of platforms.
        return entry.get("mediaType") in _INDEXES
    return (platform.get("os"), platform.get("architecture")) == _USUAL


def _as_schema1(content: Content, setting: Setting) -> Content:
    """An image as signed schema 1, under the name and tag that were asked for."""
    if content.media_type not in _MANIFESTS:
        return content
    document = _document(content)
    described = document.get("config")
    digest = described.get("digest") if isinstance(described, dict) else None
    config = setting.find(digest) if isinstance(digest, str) else None
    layers = document.get("layers")
    if config is None or not isinstance(layers, list):
        return content
    blobs = [str(layer.get("digest")) for layer in layers if isinstance(layer, dict)]
    made = Schema1Spec(
        an_image(0),
        setting.facts.repository or "",
        setting.facts.tag or "",
        edit=lambda document: {**document, **_history(_document(config), blobs)},
    )
    return Content(made.manifest, made.media_type, made.digest)


def _history(config: Mapping[str, Any], blobs: list[str]) -> dict[str, Any]:
    """What schema 1 says of the layers, the newest first; its first entry is the configuration."""
    texts: list[dict[str, Any]] = []
    parent = ""
    for number, blob in enumerate(blobs):
        text = {"parent": parent} if parent else {}
        parent = hashlib.sha256(f"{parent} {blob} {number}".encode()).hexdigest()
        texts.append({"id": parent, **text, "created": config.get("created", "")})
    if texts:
        texts[-1] |= {key: config[key] for key in _OF_CONFIG if key in config}
    return {
        "architecture": config.get("architecture", ""),
        "fsLayers": [{"blobSum": blob} for blob in reversed(blobs)],
        "history": [{"v1Compatibility": json.dumps(text)} for text in reversed(texts)],
    }


def _document(content: Content) -> Mapping[str, Any]:
    try:
        document = json.loads(bytes(content.data))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


FAULTS: Faults = {"negotiate": Negotiate}
