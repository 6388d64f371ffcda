"""Image names: what a user types becomes a registry, a repository and a tag or digest.

The grammar and the familiar short forms are those of the distribution project's `reference`
package, as containerd's `ParseDockerRef` applies them (behaviours REF-01 to REF-16).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from reference.descriptors import is_digest
from reference.errors import InvalidReference

DEFAULT_DOMAIN = "docker.io"
LEGACY_DEFAULT_DOMAIN = "index.docker.io"
OFFICIAL_PREFIX = "library/"
DEFAULT_TAG = "latest"
LONGEST_PATH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}))?(?:@(?P<digest>[^@]+))?"
)
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True)
class Name:
    """A complete image name: `domain/path`, with a tag or a digest (never both after parsing)."""

    domain: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def object(self) -> str:
        """What is asked for in the repository: the digest if there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


class Names:
    """Turns what a user typed into a `Name`."""

    grammar = REFERENCE

    def parse(self, text: str) -> Name:
        """Return the normalised name; InvalidReference where the grammar says no."""
        name = self.split(text)
        self.check_digest(name, text)
        if len(name.path) > LONGEST_PATH:
            raise self.refuse(text, f"the repository path is longer than {LONGEST_PATH} characters")
        return self.prefer_digest(self.add_default_tag(name))

    def split(self, text: str) -> Name:
        """Apply the grammar, after the short forms have been spelled out."""
        if _IMAGE_ID.fullmatch(text):
            raise self.refuse(text, "64 hexadecimal digits are an image id, not a name")
        domain, remainder = self.split_domain(text)
        path = remainder.partition("@")[0].partition(":")[0]
        if path != path.lower():
            raise self.refuse(text, "the repository must be lowercase")
        match = self.grammar.fullmatch(f"{domain}/{remainder}")
        if match is None:
            raise self.refuse(text, "expected [registry/]repository[:tag][@digest]")
        return Name(match["domain"], match["path"], match["tag"], match["digest"])

    def split_domain(self, text: str) -> tuple[str, str]:
        """Return the registry and the rest; a first part that can't be a host is a Hub path."""
        first, slash, rest = text.partition("/")
        named = slash and (
            any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()
        )
        domain, remainder = (first, rest) if named else (DEFAULT_DOMAIN, text)
        if domain == LEGACY_DEFAULT_DOMAIN:
            domain = DEFAULT_DOMAIN
        if domain == DEFAULT_DOMAIN and "/" not in remainder:
            remainder = OFFICIAL_PREFIX + remainder
        return domain, remainder

    def check_digest(self, name: Name, text: str) -> None:
        """A digest must be one that can be verified (REF-09, REF-11)."""
        if name.digest is not None and not is_digest(name.digest):
            raise self.refuse(text, "the digest must be sha256:<64 hex> or sha512:<128 hex>")

    def add_default_tag(self, name: Name) -> Name:
        """A name without tag and digest means the tag `latest` (REF-08)."""
        return name if name.tag or name.digest else replace(name, tag=DEFAULT_TAG)

    def prefer_digest(self, name: Name) -> Name:
        """With tag and digest only the digest counts (REF-07)."""
        return replace(name, tag=None) if name.digest else name

    def refuse(self, text: str, why: str) -> InvalidReference:
        """The error for a text that is no name."""
        return InvalidReference(f"failed to parse image reference {text!r}: {why}")
