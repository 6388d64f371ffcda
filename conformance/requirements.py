"""The requirement table: what is asked of a puller, on whose authority, and since when.

The table is ``requirements.toml``. It is data: this module reads it strictly, answers questions
about it, and checks it against the cases.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

__all__ = [
    "ROLES",
    "Authority",
    "Level",
    "Requirement",
    "Requirements",
    "RequirementsError",
    "load",
    "release",
]

Level = Literal["MUST", "SHOULD", "MAY", "OBSERVE"]
LEVELS: frozenset[str] = frozenset(get_args(Level))
ROLES = ("resolve", "copy", "unpack", "runtime")
"""What a puller does, in the order of a pull."""

_STATUSES = frozenset({"", "draft", "contested"})
_NO_TEXT = frozenset({"safety", "practice"})
"""Authorities that aren't a text: their MUSTs need an advisory, or can't be."""


class RequirementsError(Exception):
    """The table, or a case's use of it, is wrong. One line says what and where."""


@dataclass(frozen=True)
class Authority:
    """A text, or another ground, that requirements rest on. ``since``: its first release."""

    id: str
    title: str
    since: date
    url: str = ""
    commit: str = ""
    draft: bool = False

    @property
    def name(self) -> str:
        """Without the version: ``containerd`` of ``containerd@seed``."""
        return self.id.partition("@")[0]


@dataclass(frozen=True)
class Requirement:
    """One sentence that a puller must, should or may satisfy.

    ``source`` quotes the sentence it rests on, or says that there is none. ``advisory`` names the
    advisory or the demonstrated harm of a `safety` MUST. ``status``: ``draft`` where the text is
    in no release, ``contested`` where no measured puller meets it; neither ever fails a puller.
    ``first``: the first release of containerd (``1.7``) that has what a `containerd` requirement
    asks for, where its authority's version doesn't say it.
    """

    id: str
    text: str
    level: Level
    role: str
    authority: Authority
    section: str
    source: str
    since: date
    status: str = ""
    advisory: str = ""
    first: str = ""

    @property
    def release(self) -> tuple[int, ...]:
        """The first containerd that does it: ``first``, or the authority's own version."""
        version = self.first or self.authority.id.partition("@")[2]
        return release(version) if self.containerd_only else ()

    @property
    def binding(self) -> bool:
        """Whether breaking it can be held against a puller."""
        return not self.status and self.level in ("MUST", "SHOULD")

    @property
    def containerd_only(self) -> bool:
        """Whether containerd's behaviour is the only source."""
        return self.authority.name == "containerd"

    @property
    def ground(self) -> str:
        """Level, authority and section in one phrase, for reports."""
        where = "" if self.section == "-" else f", {self.section}"
        status = f", {self.status}" if self.status else ""
        return f"{self.level} by {self.authority.id}{where}{status}"


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare by: ``v1.6.20~ds1`` is (1, 6, 20), ``2.x`` is (2,)."""
    numbers = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in numbers[1].split(".")) if numbers else ()


class Requirements(Mapping[str, Requirement]):
    """The table, by id, in the order of the file."""

    def __init__(self, table: Mapping[str, Requirement]) -> None:
        self._table = dict(table)

    def __getitem__(self, key: str) -> Requirement:
        return self._table[key]

    def __iter__(self) -> Any:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def untested(self, covered: Iterable[str]) -> tuple[Requirement, ...]:
        """The binding MUSTs that no case covers: shown as 'not tested'."""
        known = set(covered)
        return tuple(
            requirement
            for requirement in self._table.values()
            if requirement.level == "MUST" and requirement.id not in known
        )


def parse(document: Mapping[str, Any]) -> Requirements:
    """The table of a TOML document; raises `RequirementsError` at the first thing that is wrong."""
    if document.get("format") != 1:
        raise RequirementsError("requirements.toml: 'format' must be 1")
    authorities = {
        key: _authority(key, fields) for key, fields in document.get("authorities", {}).items()
    }
    table: dict[str, Requirement] = {}
    for number, fields in enumerate(document.get("requirement", ()), 1):
        requirement = _requirement(fields, number, authorities)
        if requirement.id in table:
            raise RequirementsError(f"requirements.toml: {requirement.id} stands there twice")
        table[requirement.id] = requirement
    return Requirements(table)


@cache
def load() -> Requirements:
    """The shipped table."""
    text = resources.files("conformance").joinpath("requirements.toml").read_text("utf-8")
    return parse(tomllib.loads(text))


def _authority(key: str, fields: Mapping[str, Any]) -> Authority:
    _only(fields, {"title", "since", "url", "commit", "draft"}, f"authority {key}")
    try:
        return Authority(
            id=key,
            title=fields["title"],
            since=fields["since"],
            url=fields.get("url", ""),
            commit=fields.get("commit", ""),
            draft=bool(fields.get("draft", False)),
        )
    except KeyError as missing:
        raise RequirementsError(f"requirements.toml: authority {key} has no {missing}") from None


def _requirement(
    fields: Mapping[str, Any], number: int, authorities: Mapping[str, Authority]
) -> Requirement:
    where = str(fields.get("id", f"requirement no. {number}"))
    needed = {"id", "text", "level", "role", "authority", "section", "source"}
    _only(fields, needed | {"since", "status", "advisory", "first"}, where)
    for name in sorted(needed):
        if not str(fields.get(name, "")).strip():
            raise RequirementsError(f"requirements.toml: {where} has no '{name}'")
    level, role, status = fields["level"], fields["role"], fields.get("status", "")
    if level not in LEVELS:
        raise RequirementsError(f"requirements.toml: {where}: unknown level {level!r}")
    if role not in ROLES:
        raise RequirementsError(f"requirements.toml: {where}: unknown role {role!r}")
    if status not in _STATUSES:
        raise RequirementsError(f"requirements.toml: {where}: unknown status {status!r}")
    if fields["authority"] not in authorities:
        raise RequirementsError(
            f"requirements.toml: {where}: unknown authority {fields['authority']!r}"
        )
    authority = authorities[fields["authority"]]
    advisory = fields.get("advisory", "")
    if level == "MUST" and authority.id in _NO_TEXT and not advisory:
        raise RequirementsError(
            f"requirements.toml: {where}: a MUST by {authority.id} needs an 'advisory'"
        )
    return Requirement(
        id=fields["id"],
        text=fields["text"],
        level=level,
        role=role,
        authority=authority,
        section=fields["section"],
        source=fields["source"],
        since=fields.get("since", authority.since),
        status=status or ("draft" if authority.draft else ""),
        advisory=advisory,
        first=fields.get("first", ""),
    )


def _only(fields: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise RequirementsError(f"requirements.toml: {where}: unknown key {unknown[0]!r}")
