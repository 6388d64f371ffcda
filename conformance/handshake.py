"""Before any case: can this puller be driven at all, and does a plain pull come right?

Two things are tried: a good image arrives with the right content, and a tag that doesn't exist is
refused. (That an operation which nobody knows is answered as unsupported concerns wrappers alone:
`describe` of their adapter asks.) When one fails, nothing else would mean anything: the run ends
'not judged'.
"""

from __future__ import annotations

from typing import Any

from conformance.case import Case
from conformance.contract import NotUsable
from conformance.judge import Judge
from conformance.playing import play
from conformance.world import World
from fakeregistry.content import an_image

__all__ = ["shake_hands"]


def _good_image(world: World, puller: Any) -> None:
    """A good image arrives."""
    image = world.registry().add(an_image(layers=2))
    pulled = puller.pull(image)
    assert pulled.succeeded, f"a good image isn't pulled: {pulled.outcome.kind}: {pulled.error}"
    assert not pulled.problems, f"a good image arrives wrong: {pulled.problems[0]}"


def _missing_tag(world: World, puller: Any) -> None:
    """A missing tag is refused."""
    registry = world.registry()
    pulled = puller.pull(f"{registry.host}/app/nothing:here")
    assert pulled.refused, f"a tag that doesn't exist isn't refused: {pulled.outcome.kind}"


_SMOKE = (
    Case("handshake/good-image", ("BLOB-01",), _good_image, summary="A good image arrives."),
    Case("handshake/missing-tag", ("MAN-05",), _missing_tag, summary="A missing tag is refused."),
)


def shake_hands(judge: Judge) -> None:
    """Try the puller; raises `NotUsable` with one line where it can't be judged."""
    for number, case in enumerate(_SMOKE):
        played = play(
            case,
            judge.subject,
            judge.open_session,
            seed=judge.seed,
            honest=False,
            directory=judge.directory / f"h{number}",
        )
        if played.lacks:
            raise NotUsable(f"{judge.subject.name} {played.lacks}; the handshake needs that")
        trouble = played.harness_error or played.bug or played.failed
        if played.escaped and not trouble:
            trouble = f"by a good image it {played.escaped[0]}"
        if trouble:
            tail = [line for pulled in played.pulls for line in pulled.outcome.stderr.splitlines()]
            said = f" (stderr: {tail[-1].strip()})" if tail else ""
            raise NotUsable(f"{judge.subject.name} can't be judged: {trouble}{said}")
