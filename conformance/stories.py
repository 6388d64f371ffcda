"""What happened, in words and tables that a person can act on, without ports and secrets."""

from __future__ import annotations

import json
from typing import Any

from conformance.contract import PullRequest
from conformance.playing import Play
from conformance.pulls import Pulled
from conformance.world import World

__all__ = ["actual", "pull_story", "request_story", "timeline", "traffic"]

_MOST_EXCHANGES = 200
_STDERR = 4000


def pull_story(pulled: Pulled, world: World) -> dict[str, Any]:
    """One pull, for the results."""
    outcome = pulled.outcome
    story: dict[str, Any] = {
        "image": world.neutral(pulled.request.image),
        "request": request_story(pulled.request, world),
        "outcome": outcome.kind,
        "error": _clean(outcome.error, world),
        "code": outcome.code,
        "exit_status": outcome.exit_status,
        "image_id": outcome.image_id,
        "digest": outcome.digest,
        "argv": [_clean(word, world) for word in outcome.argv],
        "stderr": _clean(outcome.stderr, world)[-_STDERR:],
        "problems": pulled.problems,
        "unclear": pulled.unclear,
        "recalled": pulled.cached,
        "seconds": round(outcome.seconds, 3),
    }
    return {key: value for key, value in story.items() if value not in (None, "", [], {}, False)}


def request_story(request: PullRequest, world: World) -> dict[str, Any]:
    """What the puller was asked beyond an image: the inputs that aren't their defaults."""
    document = request.to_json()
    for name in ("image", "store", "output"):
        del document[name]
    given = {key: value for key, value in document.items() if value not in (None, {}, [], False)}
    if given.get("trust") == {"skip_verify": False}:
        del given["trust"]
    story: dict[str, Any] = json.loads(_clean(json.dumps(given), world))
    return story


def actual(lying: Play) -> str:
    """What the puller did, in a few lines: pulls, then what didn't hold."""
    lines = []
    for pulled in lying.pulls:
        outcome = pulled.outcome
        word = {"pulled": "claimed success", "failed": "refused"}.get(outcome.kind, outcome.kind)
        said = outcome.error.strip().splitlines()
        lines.append(f"{word}{f': {said[0]}' if said else ''}")
        lines += pulled.problems
        if pulled.unclear:
            lines.append(pulled.unclear)
    lines += lying.mislabelled + lying.escaped
    lines += [
        f"{breach.secret} was seen by {breach.seen_by} ({breach.where}, {breach.scheme})"
        for breach in lying.breaches
    ]
    if lying.runaway:
        lines.append(f"sent {len(lying.exchanges)} requests and would have gone on")
    if lying.failed:
        lines.append(f"did not hold: {lying.failed}")
    return "\n".join(_clean(line, lying.world) for line in lines)


def timeline(lying: Play) -> list[dict[str, Any]]:
    """The exchanges, in order: who, what, when, and how it ended."""
    rows = []
    for exchange in lying.exchanges[:_MOST_EXCHANGES]:
        times = exchange["times"]
        rows.append(
            {
                "n": exchange["number"],
                "at": times["opened"],
                "head": times["head"],
                "first_byte": times["first_byte"],
                "last_byte": times["last_byte"],
                "end": times["ended"],
                "registry": exchange["registry"],
                "connection": exchange["connection"],
                "kind": exchange["kind"],
                "method": exchange["method"],
                "target": lying.world.neutral(exchange["target"]),
                "range": _header(exchange["request_headers"], "range"),
                "authorization": _header(exchange["request_headers"], "authorization"),
                "status": exchange["status"],
                "bytes": exchange["bytes_sent"],
                "ended": exchange["ended"],
                "rules": exchange["rules"],
            }
        )
    return [{key: value for key, value in row.items() if value not in (None, [])} for row in rows]


def traffic(lying: Play) -> dict[str, Any]:
    """The baseline that users ask for: how much was asked, of whom, and how much was sent."""
    exchanges = lying.exchanges
    return {
        "requests": len(exchanges),
        "connections": lying.connections,
        "bytes": sum(exchange["bytes_sent"] for exchange in exchanges),
        "hosts": sorted({exchange["registry"] for exchange in exchanges}),
        "most_in_flight": _most_in_flight(exchanges),
    }


def _most_in_flight(exchanges: list[dict[str, Any]]) -> int:
    moments = []
    for exchange in exchanges:
        times = exchange["times"]
        moments.append((times["opened"], 1))
        if times["ended"] is not None:
            moments.append((times["ended"], -1))
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def _header(headers: list[Any], name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _clean(text: str, world: World) -> str:
    """Without secrets, ports and this run's folders."""
    hidden = world.secrets.redact(text)[0]
    return world.neutral(hidden).replace(str(world.directory.parent), "DIR")
