"""Profiles: how one puller is driven, read from TOML and checked before anything is started."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from conformance.contract import Evidence, NotUsable
from conformance.pullers.template import Values, expand, placeholders
from conformance.schema import problem_of, schema

__all__ = ["KNOWN_INPUTS", "Profile", "ProfileError", "Setting", "load", "pullers_dir", "shipped"]

ProfileKind = Literal["python", "command", "wrapper", "cri"]

KNOWN_INPUTS = frozenset(
    {
        *("auth", "auth-empty", "auth-encoded", "server-address", "identity-token"),
        *("registry-token", "ca", "client-certificate", "skip-verify", "plain-http", "platform"),
        *("http2", "mirrors", "hosts-toml", "headers", "proxy", "timeout", "progress-timeout"),
        *("max-concurrent-downloads", "decryption-keys", "runtime-handler", "annotations"),
    }
)
"""Every name that `PullRequest.inputs` can give."""

# What each kind can be given without a word in the profile. The CRI's RPC has fields for these.
_CRI_INPUTS = frozenset(
    {
        *("auth", "auth-empty", "auth-encoded", "server-address", "identity-token"),
        *("registry-token", "timeout", "runtime-handler", "annotations"),
    }
)

_SESSION = {"dir", "here", "pullers", "config", "socket", "snapshotter"}
_REQUEST = {
    *("image", "key", "host", "store", "output", "platform", "os", "architecture", "variant"),
    *("username", "password", "auth_encoded", "server_address", "identity_token"),
    *("registry_token", "ca", "client_certificate", "client_key", "hosts_dir", "cert_dir"),
    *("registries_conf", "docker_config_dir", "timeout_s", "progress_timeout_s"),
    *("max_concurrent_downloads", "proxy", "runtime_handler", "mount"),
    *("header_name", "header_value", "decryption_key"),
}


class ProfileError(ValueError):
    """A profile that can't be used as it is written; the message is one line."""


@dataclass(frozen=True)
class Setting:
    """What an input adds: arguments in a slot, text in slots of a config, variables."""

    argv: tuple[str, ...] = ()
    slot: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """One puller: claims, and the tables that say how it is driven.

    Attributes:
        tables: the TOML document as it was read; the adapters read their own tables from it.
        roles: of ``resolve``, ``copy``, ``unpack``, ``runtime``.
        features: capabilities that are claimed beside the inputs that can be given.
        family: pullers of one family have the same authority (``containerd``).
        longest_timeout_s: the longest limit of its own that this puller has, in seconds.
        get: one line that says how to get the puller.
        released: version -> the day of its release.
        here: the folder of the profile's file: ``{here}`` in it.
    """

    name: str
    kind: ProfileKind
    source: str
    roles: frozenset[str]
    evidence: frozenset[Evidence]
    tables: Mapping[str, Any] = field(repr=False)
    features: frozenset[str] = frozenset()
    title: str = ""
    family: str = ""
    longest_timeout_s: float = 30.0
    get: str = ""
    released: Mapping[str, date] = field(default_factory=dict)
    here: Path = Path()

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The inputs that this puller can be given."""
        if self.kind in ("python", "wrapper"):
            table = self.table(self.kind)
            lacking = {
                name for name, module in table.get("needs", {}).items() if not _is_here(module)
            }
            listed = table.get("inputs")
            return (KNOWN_INPUTS if listed is None else frozenset(listed)) - lacking
        ours = self.options.keys() | self.daemon_options.keys()
        return frozenset(ours | _CRI_INPUTS if self.kind == "cri" else ours)

    @property
    def capabilities(self) -> frozenset[str]:
        """Claimed features and possible inputs together: what a case may need."""
        return self.features | self.inputs

    def table(self, name: str) -> Mapping[str, Any]:
        """A table of the document; empty when it has none of that name."""
        found: Mapping[str, Any] = self.tables.get(name, {})
        return found

    @cached_property
    def options(self) -> dict[str, Setting]:
        """Input -> arguments and variables of the command line."""
        return {name: _setting(each) for name, each in self.table("options").items()}

    @cached_property
    def daemon_options(self) -> dict[str, Setting]:
        """Input -> what it adds to the daemon's config and environment."""
        table = self.table("daemon").get("options", {})
        return {name: _setting(each) for name, each in table.items()}

    @cached_property
    def snapshotters(self) -> dict[str, Setting]:
        """Snapshotter -> what it adds to the daemon's config and environment."""
        table = self.table("daemon").get("snapshotters", {})
        return {name: _setting(each) for name, each in table.items()}

    def released_on(self, version: str) -> date | None:
        """The day on which that version was released; None where the profile doesn't say.

        What a distribution or a build adds (``1.6.20~ds1``, ``1.7.35+unknown``) makes no other
        release of it.
        """
        plain = re.match(r"v?(\d+(?:\.\d+)*)", version)
        return self.released.get(plain[1]) if plain else None

    def mutated(self, target: str, name: str | None = None) -> Profile:
        """The same ``python`` profile with ``arguments.puller`` set to ``module:Class``."""
        table = self.table("python")
        python = {**table, "arguments": {**table.get("arguments", {}), "puller": target}}
        return replace(self, name=name or self.name, tables={**self.tables, "python": python})

    def programs(self) -> dict[str, str]:
        """Where each program of ``[find]`` is. Raises `NotUsable` for the first that is missing."""
        found = {}
        for name, candidates in self.table("find").items():
            known = Values({"pullers": str(pullers_dir()), "here": str(self.here)})
            paths = [expand(each, known) for each in candidates]
            program = next((path for each in paths if (path := _which(each))), None)
            if program is None:
                where = self.get or f"put {' or '.join(paths)} in place"
                raise NotUsable(f"{self.name}: {name} is not installed; to get it: {where}")
            found[name] = program
        return found


def _which(name: str) -> str | None:
    """A program in PATH, or among those that were installed with the suite."""
    return shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))


def pullers_dir() -> Path:
    """Where built pullers are kept: ``PULLPROOF_PULLERS``, or ``build/pullers`` where one works."""
    return Path(os.environ.get("PULLPROOF_PULLERS") or "build/pullers").absolute()


def shipped() -> list[str]:
    """Names of the profiles that come with the suite."""
    folder = files("conformance") / "profiles"
    return sorted(
        each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml")
    )


def load(name_or_path: str) -> Profile:
    """The shipped profile of that name, or the one in that file (a name that ends in ``.toml``).

    Raises `ProfileError` with one line: what is wrong, where, and what to do.
    """
    if name_or_path.endswith(".toml") or os.sep in name_or_path:
        source = name_or_path
        here = Path(name_or_path).absolute().parent
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ProfileError(f"{name_or_path} can't be read: {reason}") from None
    else:
        names = shipped()
        if name_or_path not in names:
            near = difflib.get_close_matches(name_or_path, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise ProfileError(
                f"no profile is called {name_or_path!r}; {hint} (or give the path of a .toml file)"
            )
        source = f"{name_or_path}.toml"
        here = Path(str(files("conformance"))) / "profiles"
        text = (files("conformance") / "profiles" / source).read_text(encoding="utf-8")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{source} is not valid TOML: {error}") from None
    return _checked(document, source, here)


def _checked(document: dict[str, Any], source: str, here: Path) -> Profile:
    # TOML has dates of its own, JSON's schema has not: both ways to write one are right.
    if isinstance(document.get("released"), dict):
        document["released"] = {
            version: day.isoformat() if isinstance(day, date) else day
            for version, day in document["released"].items()
        }
    problem = problem_of(document, schema("profile")) or next(_problems(document), None)
    if problem is not None:
        raise ProfileError(f"{source}: {problem}")
    name = document["name"]
    return Profile(
        name=name,
        kind=document["kind"],
        source=source,
        roles=frozenset(document["roles"]),
        evidence=frozenset(map(Evidence, document["evidence"])) | {Evidence.LOG},
        tables=document,
        features=frozenset(document.get("features", ())),
        title=document.get("title", name),
        family=document.get("family", name),
        longest_timeout_s=float(document.get("longest_timeout_s", 30.0)),
        get=document.get("get", ""),
        released={
            key: date.fromisoformat(day) for key, day in document.get("released", {}).items()
        },
        here=here,
    )


def _problems(document: dict[str, Any]) -> Iterator[str]:
    """What a schema can't see: tables that belong together, names that must be known."""
    kind = document["kind"]
    if kind not in document:
        yield f"kind = {kind!r} needs a table [{kind}]"
    for other in ("python", "command", "wrapper", "cri"):
        if other in document and other != kind:
            yield f"table [{other}] doesn't belong to kind = {kind!r}"
    daemon = document.get("daemon", {})
    for table, inputs in (
        ("options", document.get("options", {})),
        ("daemon.options", daemon.get("options", {})),
        (f"{kind}.inputs", document.get(kind, {}).get("inputs", ())),
        (f"{kind}.needs", document.get(kind, {}).get("needs", ())),
    ):
        for name in inputs:
            if name not in KNOWN_INPUTS:
                near = difflib.get_close_matches(name, KNOWN_INPUTS, 1)
                hint = f"did you mean {near[0]!r}?" if near else "see docs/write-a-profile.md"
                yield f"unknown input {name!r} in [{table}]; {hint}"
    for version, day in document.get("released", {}).items():
        try:
            date.fromisoformat(day)
        except ValueError:
            yield f"released.{version!r} is no day of the calendar: {day!r}"
    for where in ("probe.pattern", "probe.accept", "status.digest"):
        table, _, key = where.partition(".")
        pattern = document.get(table, {}).get(key)
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                yield f"{where} is not a regular expression: {error}"
                continue
            if key != "accept" and groups < 1:
                yield f"{where} needs a group that catches what is looked for"
    known = _SESSION | _REQUEST | document.get("find", {}).keys()
    for name in placeholders(_texts(document)):
        if name.partition(".")[0] != "options" and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {{{near[0]}}}?" if near else "see docs/write-a-profile.md"
            yield f"unknown placeholder {{{name}}}; {hint}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield key
            # Regular expressions have braces of their own.
            if key not in ("pattern", "accept", "digest"):
                yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _setting(table: Mapping[str, Any]) -> Setting:
    return Setting(
        argv=tuple(table.get("argv", ())),
        slot=table.get("slot", ""),
        config=table.get("config", {}),
        env=table.get("env", {}),
    )


def _is_here(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None
