"""Hostile layers by name: what a tar can do to whoever unpacks it, beside the sound one.

Every kind aims at one canary: a path that belongs to whoever tests, never at a part of the system.
To refuse such a layer, and to keep all of it inside of the root, are both right. Each has a *sound*
twin that asks for the same files in an honest way; a puller has to unpack that one.
"""

from dataclasses import dataclass
from typing import Any

from .entries import Entry, File
from .hostile import EVIL
from .layers import Layer

DEFAULT_CANARY = "/tmp/fakeregistry-canary"
"""Where kinds aim if nobody says: a name that nothing else has."""

AFTER = File("after", "unpacked after what is hostile\n")
"""The last file of every layer here: whoever has it has unpacked the whole."""


@dataclass(frozen=True)
class Evil:
    """A hostile layer, its sound twin, and what each needs in the layer below (mostly nothing).

    ``words`` complete 'in this world, …'.
    """

    kind: str
    words: str
    layer: Layer
    sound: Layer
    below: tuple[Entry, ...] = ()
    sound_below: tuple[Entry, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The hostile layers, bottom first."""
        return ((Layer(self.below),) if self.below else ()) + (self.layer,)

    @property
    def sound_layers(self) -> tuple[Layer, ...]:
        """The sound ones, as many."""
        return ((Layer(self.sound_below),) if self.below else ()) + (self.sound,)


def evil(kind: str, *, canary: str = DEFAULT_CANARY, **overrides: Any) -> Evil:
    """The hostile layer of this kind, aimed at the path ``canary`` (a folder, absolute).

    ``overrides``: fields of :class:`Layer` for both twins, such as ``compression``. Raises
    ``KeyError`` for an unknown kind, ``ValueError`` for a canary that isn't absolute.
    """
    if not canary.startswith("/") or not canary.strip("/"):
        raise ValueError(f"the canary {canary!r} must be an absolute path below the root")
    told = EVIL[kind](canary.rstrip("/"))
    return Evil(
        kind,
        told.words,
        Layer(**{"entries": (*told.entries, AFTER), **told.fields, **overrides}),
        Layer(**{"entries": (*told.sound, AFTER), **overrides}),
        told.below,
        told.sound_below,
    )
