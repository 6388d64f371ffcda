"""A scenario in words: what stands there, what is false, what is asked, and what is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from fakeregistry import faults
from fakeregistry.scenario import (
    ConnectionsPart,
    ExpectPart,
    HostPart,
    ImagePart,
    PullPart,
    RegistryPart,
    RequestsPart,
    RulePart,
    Scenario,
    TargetPart,
)
from fakeregistry.scenario.conditionkeys import words_of

__all__ = ["TOPICS", "listing", "story"]

TOPICS = {
    "A": "Stalls, hangs, progress timeouts",
    "B": "Truncation, resets, resume and Range",
    "C": "Lengths, framing, content coding",
    "D": "Digests and integrity",
    "E": "Manifests: types, negotiation, structure, platforms",
    "F": "Challenges and scopes",
    "G": "Token services and the life of tokens",
    "H": "Credentials that leak, access control",
    "I": "Redirects, signed URLs",
    "J": "Mirrors, fallback, configuration of hosts",
    "K": "Plain HTTP, TLS, proxies",
    "L": "Rate limits, 5xx, error bodies",
    "M": "Unpacking, storage, concurrency, cleaning up",
    "": "Others",
}
"""What incidents are about, by the letter of their ids."""


def listing(scenarios: Iterable[Scenario]) -> list[str]:
    """One line per scenario, by topic and id; topics stand above, with an empty line between."""
    topics: dict[str, list[Scenario]] = {letter: [] for letter in TOPICS}
    for scenario in scenarios:
        letter = scenario.incident.id[:1]
        topics[letter if letter in topics else ""].append(scenario)
    width = max((len(one.name) for found in topics.values() for one in found), default=0)
    lines: list[str] = []
    for letter, found in topics.items():
        if not found:
            continue
        lines += ["", f"{letter} {TOPICS[letter]}".strip()]
        for one in sorted(found, key=lambda each: (each.incident.id, each.name)):
            lines.append(
                f"  {one.incident.id:4} {one.name:<{width}}  {one.incident.title}".rstrip()
            )
    return lines[1:]


def story(scenario: Scenario) -> list[tuple[str, list[str]]]:
    """The scenario as headings, each with its lines; what isn't there is left out."""
    incident = scenario.incident
    told = [
        ("What the registry does", _lines(incident.did)),
        ("What went wrong", _lines(incident.wrong)),
        ("What is right", _lines(incident.right)),
        ("The world", [*map(_registry, scenario.registries), *map(_image, scenario.images)]),
        ("The lies, and what surrounds them", [_rule(rule) for rule in scenario.rules]),
        ("What is asked", _asked(scenario)),
        ("What is expected", _expected(scenario.expect)),
        ("Seen in", list(incident.links)),
        ("File", _lines(str(scenario.path))),
    ]
    return [(heading, lines) for heading, lines in told if lines]


def _lines(text: str) -> list[str]:
    return text.splitlines()


def _further(part: Any, *known: str) -> list[str]:
    """What differs from the defaults in the fields that nobody has words for: `key value`."""
    words = []
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        if item.name in (*known, "line") or value == _default(item):
            continue
        name = item.name.replace("_", " ")
        words.append(name if value is True else f"{name} {_value(value)}")
    return words


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _value(value: Any) -> str:
    if value is False:
        return "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(one)}" for key, one in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:g}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"({', '.join(_further(value))})"
    return str(value)


def _registry(part: RegistryPart) -> str:
    what = "proxy" if part.proxy else "registry"
    words = [f"{what} {part.name}: {'https' if part.tls else 'http'}"]
    if part.tls not in (None, "valid"):
        words.append(f"its certificate is {str(part.tls).replace('_', ' ')}")
    if part.auth is not None:
        user = f" of {part.auth.user}" if part.auth.user else ""
        realm = f", tokens from {part.auth.realm}" if part.auth.realm else ""
        further = _further(part.auth, "scheme", "user", "realm")
        words.append(", ".join([f"{part.auth.scheme} auth{user}{realm}", *further]))
    return ", ".join([*words, *_further(part, "name", "tls", "auth", "proxy")])


def _image(part: ImagePart) -> str:
    count = len(part.layers)
    words = [f"image {part.name}:{part.tag} at {' and '.join(part.registry)}"]
    words.append(f"{count} layer{'' if count == 1 else 's'}")
    for number, layer in enumerate(part.layers):
        said = _further(layer)
        if said and layer not in part.layers[:number]:
            words.append(f"layer {number}: {', '.join(said)}")
    return "; ".join([*words, *_further(part, "id", "name", "tag", "registry", "layers")])


def _rule(rule: RulePart) -> str:
    what = ", ".join(faults.name_of(fault) for fault in rule.faults) or "observe"
    counted = rule.window not in ("always", "once")
    window = f"{rule.window} {rule.count}" if counted else rule.window
    notes = [note for note, said in (("bait", rule.bait), ("no lie", not rule.lie)) if said]
    known = ("target", "window", "count", "faults", "bait", "lie", "name", "around")
    note = f" ({', '.join(notes)})" if notes else ""
    called = f"{rule.name!r}: " if rule.name else ""
    around = [word for word in (words_of(rule.around),) if word]
    asked = " ".join([target_words(rule.target), *around])
    where = ", ".join([f"{called}{asked}", *_further(rule, *known), window])
    return f"{where}: {what}{note}"


def target_words(target: TargetPart) -> str:
    """What requests a part of the file means, in words."""
    words = [f"{target.registry}:", target.on.replace("_", " ")]
    if target.layer is not None:
        words.append(f"of layer {target.layer}")
    if target.by:
        words.append(f"by {target.by}")
    words.append(words_of(target.asking))
    known = ("on", "registry", "image", "layer", "by", "asking")
    words = [word for word in words if word]
    return " ".join([*words, *_further(target, *known)])


def _asked(scenario: Scenario) -> list[str]:
    if scenario.incident.case:
        return [f"nothing here: the case {scenario.incident.case} plays it"]
    return [
        (f"{number}. " if len(scenario.pulls) > 1 else "") + _pull(part)
        for number, part in enumerate(scenario.pulls, 1)
    ]


_PULL_WORDS = ("image", "by_digest", "hosts", "times", "parallel", "outcome")
_STOPS = {
    "cancel_at": "cancelled once {} holds",
    "kill_at": "killed once {} holds",
    "leave_at": "left under way once {} holds",
}


def _pull(part: PullPart) -> str:
    words = [f"{part.times} pulls" if part.times > 1 else "a pull"]
    words[0] += f", {part.parallel} at once," if part.parallel > 1 else ""
    words[0] += f" of {part.image}{' by digest' if part.by_digest else ''}"
    if part.hosts:
        words.append(f"hosts: {', '.join(map(_host, part.hosts))}")
    words += _further(part, *_PULL_WORDS, *_STOPS)
    for key, text in _STOPS.items():
        if getattr(part, key):
            words.append(text.format(repr(getattr(part, key))))
    return ", ".join(words) + (f": {part.outcome}" if part.outcome else "")


def _host(part: HostPart) -> str:
    further = _further(part, "registry")
    return f"{part.registry} ({', '.join(further)})" if further else part.registry


def _expected(expect: ExpectPart | None) -> list[str]:
    if expect is None:
        return []
    lines = {"either": ["pulled or refused"]}.get(expect.outcome, [expect.outcome])
    told = {
        "what is pulled is the image, byte for byte": expect.content,
        "the unpacked tree is the right one": expect.rootfs,
        "the reference doesn't resolve to the image": expect.absent,
        "every secret stays where it belongs": expect.no_leak,
    }
    lines += [words for words, said in told.items() if said]
    lines += [_requests(part) for part in expect.requests]
    lines += [_connections(part) for part in expect.connections]
    if expect.untouched:
        lines.append(f"never contacted: {', '.join(expect.untouched)}")
    if expect.fetched_at_most is not None:
        lines.append(f"bytes fetched: at most {expect.fetched_at_most:g} times what is needed")
    for word, seconds in (("least", expect.at_least_s), ("most", expect.at_most_s)):
        if seconds is not None:
            lines.append(f"takes at {word} {seconds:g} s")
    if expect.requirements:
        lines.append(f"requirements: {', '.join(expect.requirements)}")
    if expect.capabilities:
        lines.append(f"asked only of who can: {', '.join(expect.capabilities)}")
    return lines


def _requests(part: RequestsPart) -> str:
    further = {
        "under way at once: at most": part.in_flight_at_most,
        "bytes: at most": part.bytes_at_most,
    }
    bounds = [*_bounds(part), *(f"{k} {v}" for k, v in further.items() if v is not None)]
    if part.apart_s is not None:
        bounds.append(f"at least {part.apart_s:g} s apart")
    return f"requests ({target_words(part.target)}): {', '.join(bounds)}"


def _connections(part: ConnectionsPart) -> str:
    return f"connections to {part.registry}: {', '.join(_bounds(part))}"


def _bounds(part: RequestsPart | ConnectionsPart) -> list[str]:
    bounds = (("at least", part.at_least), ("at most", part.at_most))
    return [f"{word} {value}" for word, value in bounds if value is not None]
