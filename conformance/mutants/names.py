"""Mutants that take for a name what is none, or read another name than was typed."""

from __future__ import annotations

import re
from dataclasses import replace

from conformance.mutate import mutant
from reference.errors import InvalidDescriptor
from reference.names import DEFAULT_TAG, REFERENCE, Name, Names
from reference.pull import Puller
from reference.resolve import Resolver
from reference.transport import Answer


class _FoldsCase(Names):
    def parse(self, text: str) -> Name:
        """As if it had been typed in lower case."""
        return super().parse(text.lower())


@mutant("lowercases-names", area="names", kills={"names/uppercase-path-is-refused"})
class LowercasesNames(Puller):
    """Turns upper case in a name into lower case, and pulls another repository."""

    names = _FoldsCase


class _AnySeparators(Names):
    grammar = re.compile(REFERENCE.pattern.replace("__", "_+"))


@mutant("any-separators", area="names", kills={"names/bad-separator-is-refused"})
class AnySeparators(Puller):
    """Takes any number of underscores for a separator."""

    names = _AnySeparators


class _Cleans(Names):
    def parse(self, text: str) -> Name:
        """'x/../' cancels out, as in a file's path."""
        return super().parse(re.sub(r"[^/]+/\.\./", "", text))


@mutant("cleans-paths", area="names", kills={"names/dot-dot-in-path-is-refused"})
class CleansPaths(Puller):
    """Resolves '..' in a repository as in a file's path, and pulls another repository."""

    names = _Cleans


class _LongTags(Names):
    grammar = re.compile(REFERENCE.pattern.replace("{0,127}", "*"))


@mutant("long-tags", area="names", kills={"names/overlong-tag-is-refused"})
class LongTags(Puller):
    """Knows no longest tag."""

    names = _LongTags


class _DottedTags(Names):
    grammar = re.compile(REFERENCE.pattern.replace("[a-zA-Z0-9_][", "[a-zA-Z0-9_.-]["))


@mutant("dotted-tags", area="names", kills={"names/tag-with-leading-dot-is-refused"})
class DottedTags(Puller):
    """Lets a tag begin with any character that it may hold."""

    names = _DottedTags


class _StripsScheme(Names):
    def parse(self, text: str) -> Name:
        """A URL is a name with something before it."""
        return super().parse(re.sub("^https?://", "", text))


@mutant("strips-scheme", area="names", kills={"names/url-form-is-refused"})
class StripsScheme(Puller):
    """Takes a URL for a name, and drops its scheme."""

    names = _StripsScheme


class _AnyDigest(Names):
    def check_digest(self, name: Name, text: str) -> None:
        """The registry will know."""


@mutant("unchecked-digests", area="names", kills={"names/short-digest-is-refused"})
class UncheckedDigests(Puller):
    """Asks the registry for any text that stands where a digest should."""

    names = _AnyDigest


class _AsTag(Names):
    def split(self, text: str) -> Name:
        """What can't be verified as a digest is asked for as if it were a tag."""
        name = super().split(text)
        if name.digest is not None and name.digest.startswith("md5:"):
            return replace(name, tag=name.digest, digest=None)
        return name


class _Unnamed(Resolver):
    def digest_header(self, answer: Answer) -> str | None:
        """What can't be understood isn't there."""
        try:
            return super().digest_header(answer)
        except InvalidDescriptor:
            return None


@mutant("unverified-digests", area="names", kills={"names/unknown-algorithm-is-refused"})
class UnverifiedDigests(Puller):
    """Pulls by a digest that it has no way to verify, and takes what comes."""

    names = _AsTag
    resolver = _Unnamed


class _Sha256Only(Names):
    def check_digest(self, name: Name, text: str) -> None:
        """Nothing but sha256."""
        if name.digest is not None and not name.digest.startswith("sha256:"):
            raise self.refuse(text, "the digest must be sha256")
        super().check_digest(name, text)


@mutant("sha256-only", area="names", kills={"names/sha512-digest"})
class Sha256Only(Puller):
    """Knows no digest but sha256."""

    names = _Sha256Only


class _PrefersTag(Names):
    def prefer_digest(self, name: Name) -> Name:
        """The tag is what people read."""
        return replace(name, digest=None) if name.tag else name


@mutant("prefers-tag", area="names", kills={"names/tag-and-digest-takes-the-digest"})
class PrefersTag(Puller):
    """With tag and digest takes the tag."""

    names = _PrefersTag


class _Stable(Names):
    def add_default_tag(self, name: Name) -> Name:
        """Another default."""
        named = super().add_default_tag(name)
        return replace(named, tag="v1") if named.tag == DEFAULT_TAG else named


@mutant("other-default-tag", area="names", kills={"names/missing-tag-is-latest"})
class OtherDefaultTag(Puller):
    """Takes another tag than 'latest' where none was typed."""

    names = _Stable
