"""What a puller claims to be able to do, against what it is seen to do.

Each feature that can't be seen from a profile's inputs has a probe: an honest world in which it is
needed. A feature that is claimed and doesn't work is an *over-claim*: its cases will fail. One that
works and isn't claimed is an *under-claim*: its cases don't apply, and prove nothing. An input that
a profile claims and its puller then answers as unsupported is an over-claim too. All of them are
reported, and none decides a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from conformance.case import Case
from conformance.contract import HarnessError
from conformance.judge import Judge
from conformance.playing import play
from conformance.pulls import CANT_BE_GIVEN, CasePuller
from conformance.results import Record
from conformance.world import World
from fakeregistry import a_layer, an_image, blob
from fakeregistry.content import a_schema1_image

__all__ = ["PROBES", "Claims", "probe", "refused_inputs"]


@dataclass
class Claims:
    """What was claimed, and how that differs from what was seen: name -> in one line, why."""

    claimed: list[str] = field(default_factory=list)
    over_claimed: dict[str, str] = field(default_factory=dict)
    under_claimed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form of the results' header."""
        return asdict(self)


def _zstd(world: World, puller: CasePuller) -> None:
    image = world.registry().add(an_image((a_layer(compression="zstd"),)))
    _arrives(puller, image)


def _schema1(world: World, puller: CasePuller) -> None:
    _arrives(puller, world.registry().add(a_schema1_image()))


def _foreign_layers(world: World, puller: CasePuller) -> None:
    url = world.registry().foreign_url("layer")
    layer = a_layer(foreign=True, urls=(url,), served=False)
    _arrives(puller, world.registry().add(an_image((layer,), docker=True)))


def _store(world: World, puller: CasePuller) -> None:
    registry = world.registry()
    image = registry.add(an_image(layers=1))
    for _ in range(2):
        _arrives(puller, image)
    asked = len(registry.requests(blob(image.layers[0]), method="GET"))
    assert asked == 1, "the same image's layer is fetched again by the second pull"


def _arrives(puller: CasePuller, image: Any) -> None:
    pulled = puller.pull(image)
    assert pulled.succeeded, f"{pulled.outcome.kind}: {pulled.error}"
    assert not pulled.problems, pulled.problems[0]


PROBES: Mapping[str, Callable[[World, CasePuller], None]] = {
    "zstd": _zstd,
    "schema1": _schema1,
    "foreign-layers": _foreign_layers,
    "store": _store,
}
"""Feature -> an honest world that needs it."""


def probe(judge: Judge, features: Iterable[str] = tuple(PROBES)) -> Claims:
    """Try each feature once; what can't be tried is left open, and said nowhere."""
    subject = judge.subject
    claims = Claims(claimed=sorted(subject.capabilities))
    for feature in features:
        case = Case(f"probe/{feature}", (), PROBES[feature])
        try:
            played = play(
                case,
                replace(subject, capabilities=frozenset()),
                judge.open_session,
                seed=judge.seed,
                honest=False,
                directory=judge.directory / f"p-{feature}",
            )
        except HarnessError as error:
            lacking = str(error)
        else:
            if played.bug or played.lacks:
                continue
            lacking = played.harness_error or played.world.neutral(played.failed)
        if feature in subject.capabilities and lacking:
            claims.over_claimed[feature] = lacking
        elif feature not in subject.capabilities and not lacking:
            claims.under_claimed[feature] = "works where it is needed"
    return claims


def refused_inputs(claims: Claims, records: Iterable[Record]) -> None:
    """Add the inputs that were claimed, and answered as unsupported when a case gave them."""
    for record in records:
        name = record.note.removeprefix(CANT_BE_GIVEN)
        if record.verdict == "not-applicable" and name != record.note and name in claims.claimed:
            claims.over_claimed.setdefault(name, f"answered as unsupported in {record.case}")
