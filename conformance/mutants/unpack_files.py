"""Mutants that make files carelessly: their kinds, attributes and names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from conformance.mutate import mutant
from reference import tar
from reference.errors import LayerError
from reference.layers import LayerApplier
from reference.pull import Puller
from reference.tar import Entry


class _PlainModes(LayerApplier):
    def apply_entry(self, entry: Entry, body: Iterator[memoryview]) -> None:
        """Nobody needs set-id bits."""
        super().apply_entry(replace(entry, mode=entry.mode & 0o1777), body)


@mutant("set-id-bits-are-lost", area="unpack", kills={"unpack/modes-owners-and-times"})
class SetIDBitsAreLost(Puller):
    """Loses setuid and setgid."""

    layers = _PlainModes


class _NoXattrs(LayerApplier):
    def set_xattrs(self, target: int | str, entry: object) -> None:
        """Few files have them."""


@mutant("no-extended-attributes", area="unpack", kills={"unpack/extended-attributes"})
class NoExtendedAttributes(Puller):
    """Sets no extended attributes."""

    layers = _NoXattrs


class _NoSpecials(LayerApplier):
    def make_special(self, entry: Entry, path: bytes) -> None:
        """A container gets its devices from the runtime."""


@mutant("no-special-files", area="unpack", kills={"unpack/fifos-and-devices"})
class NoSpecialFiles(Puller):
    """Leaves out FIFOs and devices."""

    layers = _NoSpecials


class _ShortNames(LayerApplier):
    def clean(self, name: bytes) -> bytes:
        """A header has a hundred bytes for a name."""
        return super().clean(name[:100])


@mutant("names-of-a-hundred-bytes", area="unpack", kills={"unpack/long-names"})
class NamesOfAHundredBytes(Puller):
    """Cuts names after a hundred bytes."""

    layers = _ShortNames


class _Copies(LayerApplier):
    def make_hardlink(self, entry: Entry, path: bytes) -> None:
        """A file with the same content is as good."""
        target = self.place(self.clean(entry.link), create=False)
        if target is None:
            raise LayerError("a hard link to nothing")
        source = self.folder / target.path.decode()
        data = source.read_bytes()
        copy = replace(entry, kind=tar.REGULAR, size=len(data))
        self.make_file(copy, path, iter([memoryview(data)]))


@mutant("hard-links-are-copies", area="unpack", kills={"unpack/hard-links"})
class HardLinksAreCopies(Puller):
    """Copies what a hard link names."""

    layers = _Copies


class _EmptyLinks(LayerApplier):
    def make_hardlink(self, entry: Entry, path: bytes) -> None:
        """A link to nothing is a file with nothing in it."""
        try:
            super().make_hardlink(entry, path)
        except LayerError:
            self.make_file(replace(entry, kind=tar.REGULAR), path, iter(()))


@mutant(
    "hard-links-to-nothing-are-empty",
    area="unpack",
    kills={"unpack/hard-link-to-nothing-is-refused"},
)
class HardLinksToNothingAreEmpty(Puller):
    """Makes an empty file of a hard link whose target is missing."""

    layers = _EmptyLinks
