"""Conditions: what must be true of a request, and of its registry, for a rule to mean it.

The keyword arguments of `registry.on` and the keys of a `[[rule]]`, with the same names. What is
true of the request alone also chooses in `registry.requests` and in `[[expect.requests]]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from .asking import Asked, Ranged
from .targets import Target

HeaderCondition = str | bool | re.Pattern[str] | Mapping[str, str] | Callable[[str], bool]
"""True: present; False: absent; a text: equal; a pattern, or `{"matches": …}`: found in the value
(`re.search`); a function: its judgement of the value."""

Want = str | bool | re.Pattern[str] | Callable[[str], bool]

ALPN = ("h2", "http/1.1")
AUTHZ = ("none", "basic", "bearer")


class HasId(Protocol):
    """A rule, or what stands for one."""

    @property
    def id(self) -> str:
        """The registry and the rule's number there: `origin#1`."""
        ...


class Asking(TypedDict, total=False):
    """Conditions on the request alone; None, as everywhere, asks nothing.

    `method`. `range`: whether there is a Range header, or which (see `Ranged`). `accept`: a media
    type that Accept names, or `{"lacks": type}`. `authorized`: whether there is an Authorization
    header. `authz`: of which kind (none, basic, bearer), or `{"kind": …, "subject": user}`.
    `header` and `query`: names and what is wanted of the value. `alpn`: "h2" or "http/1.1", by
    which the request came (without ALPN: http/1.1). `repo` and `tag`: what is asked for.
    """

    method: str | None
    range: bool | Mapping[str, Any] | None
    accept: str | Mapping[str, str] | None
    authorized: bool | None
    authz: str | Mapping[str, str] | None
    header: Mapping[str, HeaderCondition] | None
    query: Mapping[str, HeaderCondition] | None
    alpn: str | None
    repo: str | None
    tag: str | None


class Conditions(Asking, total=False):
    """Conditions on the registry too.

    `concurrency`: so many exchanges of the rule's target are under way, this one included.
    `bytes_sent_at_least`: body bytes that the registry has sent so far. `time_at_least`: seconds on
    the registry's clock. `after_rule`: a rule (or its name) that has fired before. `chance`: from 0
    to 1; who is lucky depends on the topology's seed, the rule and the request's number alone.
    """

    concurrency: int | None
    bytes_sent_at_least: int | None
    time_at_least: float | None
    after_rule: str | HasId | None
    chance: float | None


class Around(Protocol):
    """The registry around a request, as conditions see it."""

    def under_way(self, target: Target) -> int:
        """How many exchanges (or connections) of a target are under way."""
        ...

    def sent(self) -> int:
        """How many body bytes were sent so far."""
        ...

    def now(self) -> float:
        """Seconds on the registry's clock."""
        ...

    def has_fired(self, rule: str) -> bool:
        """Whether a rule has fired; LookupError where none has this name or id."""
        ...


@dataclass(frozen=True)
class When:
    """The conditions of a rule beside its target; None asks nothing. Made by `of`."""

    method: str | None = None
    range: bool | Ranged | None = None
    accept: str | None = None
    lacks: str | None = None
    authorized: bool | None = None
    kind: str | None = None
    subject: str | None = None
    header: Mapping[str, Want] = field(default_factory=dict)
    query: Mapping[str, Want] = field(default_factory=dict)
    alpn: str | None = None
    repo: str | None = None
    tag: str | None = None
    concurrency: int | None = None
    bytes_sent: int | None = None
    time: float | None = None
    after_rule: str | None = None
    chance: float | None = None

    @classmethod
    def of(
        cls,
        *,
        method: str | None = None,
        range: bool | Mapping[str, Any] | None = None,  # noqa: A002 (the field's word)
        accept: str | Mapping[str, str] | None = None,
        authorized: bool | None = None,
        authz: str | Mapping[str, str] | None = None,
        header: Mapping[str, HeaderCondition] | None = None,
        query: Mapping[str, HeaderCondition] | None = None,
        alpn: str | None = None,
        repo: str | None = None,
        tag: str | None = None,
        concurrency: int | None = None,
        bytes_sent_at_least: int | None = None,
        time_at_least: float | None = None,
        after_rule: str | HasId | None = None,
        chance: float | None = None,
    ) -> When:
        """Check and gather conditions (see `Conditions`); ValueError says what is wrong."""
        if isinstance(accept, str):
            accept = {"includes": accept}
        if isinstance(authz, str):
            authz = {"kind": authz}
        accept, authz = accept or {}, authz or {}
        _known("accept", accept, ("includes", "lacks"))
        _known("authz", authz, ("kind", "subject"))
        _one_of("authz", authz.get("kind"), AUTHZ)
        _one_of("alpn", alpn, ALPN)
        _at_least("concurrency", concurrency, 1)
        _at_least("bytes_sent_at_least", bytes_sent_at_least, 0)
        _at_least("time_at_least", time_at_least, 0)
        if chance is not None and not 0 <= chance <= 1:
            raise ValueError(f"chance {chance}: it must lie between 0 and 1")
        return cls(
            method=None if method is None else method.upper(),
            range=_ranged(range) if isinstance(range, Mapping) else range,
            accept=_lower(accept.get("includes")),
            lacks=_lower(accept.get("lacks")),
            authorized=authorized,
            kind=authz.get("kind"),
            subject=authz.get("subject"),
            header={name: _want("header", name, want) for name, want in (header or {}).items()},
            query={name: _want("query", name, want) for name, want in (query or {}).items()},
            alpn=alpn,
            repo=repo,
            tag=tag,
            concurrency=concurrency,
            bytes_sent=bytes_sent_at_least,
            time=time_at_least,
            after_rule=after_rule
            if after_rule is None or isinstance(after_rule, str)
            else after_rule.id,
            chance=chance,
        )

    @property
    def on_request(self) -> bool:
        """Whether anything is asked of the request itself: a connection rule can't have that."""
        return any(
            getattr(self, name) not in (None, {})
            for name in (
                *("method", "range", "accept", "lacks", "authorized", "kind", "subject"),
                *("header", "query", "alpn", "repo", "tag"),
            )
        )

    @property
    def on_registry(self) -> bool:
        """Whether anything is asked of the registry around: the journal doesn't know that."""
        names = ("concurrency", "bytes_sent", "time", "after_rule", "chance")
        return any(getattr(self, name) is not None for name in names)

    def accepts(self, asked: Asked) -> bool:
        """Whether a request is meant, whatever goes on around it."""
        if self.method is not None and asked.method != self.method:
            return False
        if self.repo is not None and asked.facts.repository != self.repo:
            return False
        if self.tag is not None and asked.facts.tag != self.tag:
            return False
        if self.alpn is not None and asked.h2 != (self.alpn == "h2"):
            return False
        return (
            (self.range is None or self._accepts_range(next(asked.header("range"), None)))
            and (self.accept is None or self.accept in asked.accepted)
            and (self.lacks is None or self.lacks not in asked.accepted)
            and (self.authorized is None or (asked.authz != "none") == self.authorized)
            and (self.kind is None or asked.authz == self.kind)
            and (self.subject is None or asked.subject() == self.subject)
            and all(_holds(want, list(asked.header(name))) for name, want in self.header.items())
            and (not self.query or self._accepts_query(asked.query))
        )

    def _accepts_range(self, text: str | None) -> bool:
        if isinstance(self.range, Ranged):
            return text is not None and self.range.accepts(text)
        return (text is not None) == self.range

    def _accepts_query(self, query: Mapping[str, str]) -> bool:
        return all(
            _holds(want, [query[name]] if name in query else [])
            for name, want in self.query.items()
        )

    def holds(self, around: Around, target: Target) -> bool:
        """Whether the registry around the request is as wanted; luck is the rule's matter."""
        return (
            (self.after_rule is None or around.has_fired(self.after_rule))
            and (self.time is None or around.now() >= self.time)
            and (self.bytes_sent is None or around.sent() >= self.bytes_sent)
            and (self.concurrency is None or around.under_way(target) >= self.concurrency)
        )

    @property
    def words(self) -> str:
        """The conditions as a person says them, or nothing."""
        said = [self.method or ""]
        if isinstance(self.range, Ranged):
            said.append(self.range.words)
        elif self.range is not None:
            said.append("with range" if self.range else "without range")
        said.append(_said("accepting", self.accept))
        said.append(_said("not accepting", self.lacks))
        if self.authorized is not None:
            said.append("with authorization" if self.authorized else "without authorization")
        if self.kind is not None:
            said.append("without credentials" if self.kind == "none" else f"by {self.kind}")
        said.append(_said("as", self.subject))
        said += [_wanted("header", name, want) for name, want in self.header.items()]
        said += [_wanted("query", name, want) for name, want in self.query.items()]
        said.append(_said("over", self.alpn))
        said.append(_said("in", self.repo))
        said.append(_said("tagged", self.tag))
        if self.concurrency is not None:
            said.append(f"while {self.concurrency} or more are under way")
        if self.bytes_sent is not None:
            said.append(f"once {self.bytes_sent} bytes were sent")
        if self.time is not None:
            said.append(f"from {self.time:g} s on the clock")
        if self.after_rule is not None:
            said.append(f"once {self.after_rule} has fired")
        if self.chance is not None:
            said.append(f"by a chance of {self.chance:g}")
        return " ".join(word for word in said if word)


def _said(word: str, value: str | None) -> str:
    return "" if value is None else f"{word} {value}"


def _lower(text: str | None) -> str | None:
    return None if text is None else text.strip().lower()


def _known(what: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{what}: unknown {key!r}: {' or '.join(known)}")
        if not isinstance(value, str):
            raise ValueError(f"{what}: {key} = {value!r}: it must be a text")


def _one_of(what: str, given: str | None, known: Sequence[str]) -> None:
    if given is not None and given not in known:
        raise ValueError(f"{what} {given!r}: {', '.join(known[:-1])} or {known[-1]}")


def _at_least(what: str, given: float | None, least: float) -> None:
    if given is not None and not given >= least:
        raise ValueError(f"{what} {given}: it must be at least {least}")


def _ranged(given: Mapping[str, Any]) -> Ranged:
    unknown = [key for key in given if key not in ("start", "end", "suffix", "multirange")]
    if unknown:
        raise ValueError(f"range: unknown {unknown[0]!r}: start, end, suffix or multirange")
    return Ranged(**given)


def _want(what: str, name: str, given: HeaderCondition) -> Want:
    if not isinstance(given, Mapping):
        return given
    if list(given) != ["matches"] or not isinstance(given["matches"], str):
        raise ValueError(f'{what} {name}: true, false, a text, or {{ matches = "…" }}')
    try:
        return re.compile(given["matches"])
    except re.error as problem:
        raise ValueError(f"{what} {name}: no regular expression: {problem}") from None


def _holds(want: Want, values: list[str]) -> bool:
    """Whether what is wanted is true of one of the values."""
    if isinstance(want, bool):
        return bool(values) == want
    if isinstance(want, str):
        return want in values
    if isinstance(want, re.Pattern):
        return any(want.search(value) for value in values)
    return any(want(value) for value in values)


def _wanted(what: str, name: str, want: Want) -> str:
    if isinstance(want, bool):
        return f"{'with' if want else 'without'} {what} {name}"
    if isinstance(want, str):
        return f"with {what} {name} = {want!r}"
    if isinstance(want, re.Pattern):
        return f"with {what} {name} that matches {want.pattern!r}"
    return f"with {what} {name} as judged"


__all__ = [
    "ALPN",
    "AUTHZ",
    "Around",
    "Asked",
    "Asking",
    "Conditions",
    "HeaderCondition",
    "Ranged",
    "When",
]
