"""What containerd does that the specs, or caution, would do otherwise: one named switch each.

All are off by default. `Config.compat` = "containerd" turns all of them on, so that the reference
can be compared with containerd case by case; `Config.quirks` turns on single ones. What each costs,
and what containerd does that no switch repeats, is in docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from reference.errors import ConfigError


@dataclass(frozen=True)
class Quirks:
    """Switches, named after what happens while they are on. The seed is containerd 1.7.0-beta.0."""

    unlimited_downloads: bool = False
    """`max_concurrent_downloads` is ignored: the seed looks at the field for uploads."""

    @classmethod
    def containerd(cls) -> Quirks:
        """All of them."""
        return cls(**dict.fromkeys(cls.names(), True))

    def on(self, names: Iterable[str]) -> Quirks:
        """These, and those of the names too. Raises ConfigError for a name that is none."""
        names = list(names)
        if unknown := [name for name in names if name not in self.names()]:
            raise ConfigError(f"no quirk is called {unknown[0]!r}: {', '.join(self.names())}")
        return replace(self, **dict.fromkeys(names, True))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the switches, in the order in which they are declared."""
        return tuple(each.name for each in fields(cls))
