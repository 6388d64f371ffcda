"""Platforms: which image of an index fits the machine that the image is for.

The rules are those of containerd's `platforms.Only`: a list of platforms from the best fit to the
last one that still runs (amd64 runs 386, arm/v7 runs v6 and v5), and an entry's rank is its place
in that list. Entries of equal rank count in the index's order (IDX-03 to IDX-06).
"""

from __future__ import annotations

import platform as machine
import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

from reference.compat import Quirks
from reference.descriptors import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from reference.errors import ConfigError, NoMatchingPlatform

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ARCHITECTURES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}


@dataclass(frozen=True)
class Platform:
    """Operating system and architecture, in Go's words."""

    os: str
    architecture: str
    variant: str = ""
    features: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]``, or one of the two alone for this machine's other."""
        parts = text.split("/")
        if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            raise ConfigError(f"platform {text!r} must be os/architecture[/variant]")
        if len(parts) == 1:
            here = cls.here()
            known_os = parts[0].lower() in ("linux", "windows", "darwin", "macos", "freebsd")
            if known_os:
                return replace(here, os=parts[0]).normalised()
            return cls(here.os, parts[0]).normalised()
        return cls(parts[0], parts[1], "".join(parts[2:])).normalised()

    @classmethod
    def here(cls) -> Platform:
        """The platform of this machine."""
        return cls(machine.system(), machine.machine()).normalised()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Platform:
        """Read the platform of an index entry, or of an image config."""
        features = document.get("os.features")
        return cls(
            str(document.get("os") or ""),
            str(document.get("architecture") or ""),
            str(document.get("variant") or ""),
            frozenset(map(str, features)) if isinstance(features, list) else frozenset(),
        ).normalised()

    def normalised(self) -> Platform:
        """The same in the one spelling that is compared (IDX-15)."""
        system = self.os.lower()
        architecture, variant = self.architecture.lower(), self.variant.lower()
        if architecture in _ARCHITECTURES:
            architecture, variant_of = _ARCHITECTURES[architecture]
            variant = variant_of or variant
        variant = "" if architecture == "386" else _VARIANTS.get((architecture, variant), variant)
        system = {"macos": "darwin"}.get(system, system)
        return replace(self, os=system, architecture=architecture, variant=variant)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class PlatformMatcher:
    """Chooses from an index for one platform."""

    quirks = Quirks()

    def __init__(self, platform: Platform) -> None:
        self.platform = platform.normalised()
        self.runs = self.compatible(self.platform)
        self.preferred: Callable[[str], bool] = lambda digest: False

    def preferring(self, here: Callable[[str], bool]) -> Self:
        """The same for a store: of the entries that fit, the first that is `here` is the image.

        Which of them a pull chose depends on its switches; the others' content isn't there.
        """
        other = copy(self)
        other.preferred = here
        return other

    def compatible(self, platform: Platform) -> tuple[Platform, ...]:
        """Everything that `platform` runs, the best fit first (IDX-04)."""
        number = int(match[1]) if (match := re.fullmatch(r"v([0-9]{1,3})", platform.variant)) else 0
        if platform.architecture == "amd64":
            lower = [replace(platform, variant=f"v{n}") for n in range(number - 1, 0, -1)]
            return (platform, *lower, replace(platform, architecture="386", variant=""))
        if platform.architecture == "arm":
            lower = [replace(platform, variant=f"v{n}") for n in range(number - 1, 4, -1)]
            return (platform, *lower)
        if platform.architecture == "arm64":
            arm = replace(platform, architecture="arm", variant=platform.variant or "v8")
            return (platform, *self.compatible(arm))
        return (platform,)

    def rank(self, platform: Platform) -> int | None:
        """The place of `platform` among those that run here, 0 the best; None if it doesn't run."""
        ignored = self.quirks.os_features_ignored
        if not (ignored or platform.features <= self.platform.features):
            return None  # it needs features of the OS that nobody promised (IDX-14)
        plain = replace(platform, features=frozenset())
        for place, runs in enumerate(self.runs):
            if plain == replace(runs.normalised(), features=frozenset()):
                return place
        return None

    def matches(self, platform: Platform) -> bool:
        """Whether an image for `platform` runs here."""
        return self.rank(platform) is not None

    def candidates(self, entries: Iterable[Descriptor]) -> list[Descriptor]:
        """The entries that can be used, the best first.

        Unknown types are passed over (IDX-09), and so is what says that it is for no platform:
        ``unknown/unknown`` is how attestations are marked (IDX-08). An entry without a platform
        comes after all that fit; what its config says is checked later (IDX-07).
        """
        ranked: list[tuple[int, Descriptor]] = []
        for entry in entries:
            known = entry.media_type in INDEX_TYPES | MANIFEST_TYPES
            if not known and not self.quirks.unknown_index_entries:
                continue
            rank = (
                len(self.runs)
                if entry.platform is None
                else self.rank(Platform.from_json(entry.platform))
            )
            if rank is not None:
                ranked.append((rank, entry))
        return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]

    def choose(self, entries: Iterable[Descriptor], where: str) -> Descriptor:
        """The entry to pull; NoMatchingPlatform when none fits. `where` is for the message."""
        found = self.candidates(entries)
        if not found:
            raise NoMatchingPlatform(f"no match for platform {self.platform} in {where}")
        return next((entry for entry in found if self.preferred(entry.digest)), found[0])
