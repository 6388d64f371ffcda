"""The memory of honest neighbours: cases with equal honest worlds share one pull.

A neighbour plays the case's own function in an honest world, so its pulls can be recognised only
as they come: by the world as it stands, the pulls before, and the request. A pull that is known
is answered from memory, and no puller is even started. What can't be answered that way (a question
about the store, a pull in the background) makes the neighbour be played in full.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from conformance.contract import Outcome, PullRequest
from conformance.world import World

__all__ = ["Memory", "PlayInFull", "Recall"]

Known = tuple[Outcome, list[str]]


class PlayInFull(Exception):  # noqa: N818 - an instruction, not an error
    """This neighbour can't be answered from memory: run it again without."""


class Memory:
    """What honest pulls came to, for one puller in one process."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}


class Recall:
    """One neighbour's way through the memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._key = ""
        self._recalled = 0

    @property
    def recalled(self) -> int:
        """How many pulls were answered from memory."""
        return self._recalled

    def pull(self, world: World, request: PullRequest) -> Known | None:
        """What this pull came to before; None: it has to be made, and then kept."""
        text = "\n".join((self._key, world.fingerprint(), _neutral(world, request)))
        self._key = hashlib.sha256(text.encode()).hexdigest()
        known = self._memory.known.get(self._key)
        if known is not None:
            self._recalled += 1
        elif self._recalled:
            # The pulls before were never made, so the store lacks what they would have left.
            raise PlayInFull
        return known

    def keep(self, outcome: Outcome, problems: list[str]) -> None:
        """Remember what the pull that was asked for last came to."""
        self._memory.known[self._key] = (outcome, problems)

    def in_full(self) -> None:
        """Say that what follows needs the pulls before to have been made."""
        if self._recalled:
            raise PlayInFull


def _neutral(world: World, request: PullRequest) -> str:
    document: dict[str, Any] = request.to_json()
    document["store"] = request.store.name
    del document["output"]
    text = json.dumps(document, sort_keys=True)
    return world.neutral(text.replace(str(world.directory), ""))
