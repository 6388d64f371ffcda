"""Before any case: can this puller be driven at all, and does a plain pull come right?

Three things are tried: a good image arrives with the right content, a tag that doesn't exist is
refused, and an operation that nobody knows is answered as unsupported. When one fails, nothing
else would mean anything: the run ends 'not judged'.
"""

from __future__ import annotations

from typing import Any

from conformance.case import Case
from conformance.contract import NotUsable, Puller
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


def shake_hands(judge: Judge, puller: Puller) -> None:
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
        trouble = played.harness_error or played.lacks or played.bug or played.failed
        if trouble:
            tail = [line for pulled in played.pulls for line in pulled.outcome.stderr.splitlines()]
            said = f" (stderr: {tail[-1].strip()})" if tail else ""
            raise NotUsable(f"{judge.subject.name} can't be judged: {trouble}{said}")
    probe = getattr(puller, "unknown_operation", None)
    if probe is not None and not probe():
        raise NotUsable(
            f"{judge.subject.name} can't be judged: an unknown operation isn't answered as "
            "'unsupported'"
        )
