"""Playing one case in one world: set up, run the function, look round, clean up.

Nothing is judged here. A `Play` is what happened, in the lying world or in the honest one.
"""

from __future__ import annotations

import linecache
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance import seeds
from conformance.applicability import Subject
from conformance.breaches import breaches_of
from conformance.canaries import canaries_touched, place_canaries
from conformance.case import Case, Observed
from conformance.contract import Evidence, HarnessError, Session
from conformance.neighbours import PlayInFull, Recall
from conformance.pulls import CasePuller, NotApplicable, Pulled
from conformance.results import Breach
from conformance.rightness import mislabelled_blobs
from conformance.world import World
from fakeregistry import Registries

__all__ = ["Play", "play"]

OpenSession = Callable[[Path], Session]

HOST_NAMES = {
    "origin": "127.0.0.1",
    "origin-tls": "registry.test",
    "mirror": "mirror.test",
    "mirror2": "mirror2.test",
    "cdn": "cdn.test",
    "auth": "auth.test",
    "evil": "evil.test",
    "storage": "storage.registry.test",
    "proxy": "proxy.test",
}
"""Host names by registry, all of them 127.0.0.1 in the run's own hosts file.

The storage is below the origin that speaks TLS: to some clients that is the same host.
"""

_QUIET = 1.0
"""Seconds that a registry gets to end what nobody listens to any more."""


@dataclass
class Play:
    """What happened when a case was played once."""

    world: World
    pulls: list[Pulled] = field(default_factory=list)
    observed: Observed | None = None
    failed: str = ""
    ended_by: str = ""
    harness_error: str = ""
    bug: str = ""
    lacks: str = ""
    breaches: list[Breach] = field(default_factory=list)
    mislabelled: list[str] = field(default_factory=list)
    escaped: list[str] = field(default_factory=list)
    runaway: bool = False
    unmet: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    har: dict[str, Any] = field(default_factory=dict)
    connections: int = 0
    seconds: float = 0.0
    recalled: int = 0

    @property
    def held(self) -> bool:
        """Whether every assertion of the case held."""
        return not (self.failed or self.ended_by)

    @property
    def registry_error(self) -> str:
        """What our own registry stumbled over; empty where it didn't."""
        rules = (rule for exchange in self.exchanges for rule in exchange["rules"])
        return next((rule for rule in rules if rule.startswith("internal error")), "")

    @property
    def wrong(self) -> list[str]:
        """What is wrong with content that a pull claimed to have brought."""
        lines = [line for pulled in self.pulls for line in pulled.problems]
        return lines + self.mislabelled


def play(
    case: Case,
    subject: Subject,
    open_session: OpenSession,
    *,
    seed: str,
    honest: bool,
    directory: Path,
    recall: Recall | None = None,
) -> Play:
    """Play `case` once. `directory` must not exist; it is left for whoever wants to look."""
    started = time.monotonic()
    with _stage(case, seed, honest, directory) as world:
        played = Play(world)
        puller = CasePuller(
            lambda: open_session(_fresh(directory / "session")),
            world,
            subject.evidence,
            directory=directory,
            longest_s=subject.longest_s,
            memory=recall,
            with_rootfs=Evidence.ROOTFS in case.needs,
        )
        try:
            _perform(case, world, puller, played)
            _look_round(played, world, puller, directory)
        finally:
            _release(world)
            puller.close()
        played.recalled = recall.recalled if recall else 0
        played.seconds = time.monotonic() - started
        return played


@contextmanager
def _stage(case: Case, seed: str, honest: bool, directory: Path) -> Iterator[World]:
    directory.mkdir(parents=True)
    place_canaries(directory)
    trust = _fresh(directory / "trust")
    world = World(
        seed=seed,
        case=case.id,
        honest=honest,
        registries=Registries(seeds.world_salt(seed, case.id, honest=honest), names=HOST_NAMES),
        directory=trust,
    )
    try:
        yield world
    finally:
        world.close()


def _perform(case: Case, world: World, puller: CasePuller, played: Play) -> None:
    makers: dict[str, Callable[[], Any]] = {
        "world": lambda: world,
        "registry": world.registry,
        "puller": lambda: puller,
    }
    arguments = {name: makers[name]() for name in case.parameters}
    try:
        try:
            played.observed = case.function(**arguments)
        finally:
            _release(world)
            puller.finish()
    except AssertionError as error:
        played.failed = _where(error, case)
    except NotApplicable as lack:
        played.lacks = str(lack)
    except PlayInFull:
        raise
    except HarnessError as error:
        played.harness_error = str(error)
    except Exception as error:  # a case's own mistake must not end the run
        if world.honest and isinstance(error, LookupError | TimeoutError | ValueError | TypeError):
            # What the case looks for exists only where the lie was told.
            played.ended_by = f"{type(error).__name__}: {error}"
        else:
            played.bug = "".join(traceback.format_exception(error)[-4:]).strip()
    played.pulls = puller.pulls


def _look_round(played: Play, world: World, puller: CasePuller, directory: Path) -> None:
    journal = world.registries.journal
    # The puller may be done before the registry has written down that its answer is whole.
    journal.wait_quiet(_QUIET)
    played.breaches = breaches_of(world)
    played.runaway = world.registries.runaway
    played.unmet = world.unmet()
    played.exchanges = [exchange.to_dict() for exchange in journal.exchanges()]
    played.connections = len(journal.connections)
    played.har = journal.to_har()
    played.escaped = canaries_touched(directory)
    played.escaped += [
        f"contacted {name}, which only the image names"
        for name in sorted(world.canaries)
        if world.registry(name).contacted
    ]
    if puller.offers(Evidence.LAYOUT) and not world.honest:
        played.mislabelled = mislabelled_blobs(directory / "stores", directory / "session")


def _release(world: World) -> None:
    """Let go of everything that a rule holds, so that nothing outlives the case."""
    for _, rule in [*world.rules, *world.circumstances]:
        rule.release()


def _where(error: AssertionError, case: Case) -> str:
    """The assertion that failed, as it stands in the case's source."""
    frames = traceback.extract_tb(error.__traceback__)
    code = case.function.__code__
    own = [frame for frame in frames if frame.filename == code.co_filename]
    line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip() if own else ""
    # A message of the author's own; pytest's explanation of the assertion isn't one.
    text = str(error).partition("\nassert ")[0]
    text = "" if text.startswith("assert ") else text
    return text or line or "assertion failed"


def _fresh(path: Path) -> Path:
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path
