"""Grants: what a token allows and how long it lives, and how scopes become rights.

Scopes are those of Docker's token document: `repository:app/web:pull,push`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Scope = tuple[str, str]
"""A repository name and an action (pull, push, delete); `*` stands for any."""
EVERYTHING: frozenset[Scope] = frozenset({("*", "*")})
PULL: frozenset[Scope] = frozenset({("*", "pull")})

ScopePolicy = Literal["exact", "last_scope_wins", "first_scope_wins", "refuse_extra"]
SCOPE_POLICIES: tuple[ScopePolicy, ...] = get_args(ScopePolicy)
"""What a token service makes of several scopes: grants each; grants the last or the first alone;
answers 403 where more is asked than one scope, or than the user may."""


@dataclass
class Grant:
    """What a token allows, and how long it lives.

    `uses`: so many requests, None for any number. `until`: on the topology's clock, None for ever.
    `host`: the one registry that takes it, None for every one that should. `dead`: it lives no
    more; `rejected`: it never was any good.
    """

    scopes: frozenset[Scope]
    uses: int | None = None
    until: float | None = None
    user: str | None = None
    host: str | None = None
    dead: bool = False
    rejected: bool = False

    def use(self, now: float) -> bool:
        """Use the token once; False where it is expired."""
        if self.until is not None and now >= self.until:
            self.dead = True
        if self.uses is not None:
            self.dead = self.dead or self.uses <= 0
            self.uses -= 1
        return not self.dead

    def covers(self, repository: str, action: str) -> bool:
        """Whether the scopes allow an action on a repository."""
        return allows(self.scopes, repository, action)

    def bind(self, repository: str | None, actions: Sequence[str]) -> None:
        """Let it be good for less: for one repository, for some actions (empty: as it was)."""
        self.scopes = frozenset(
            (name if repository is None else repository, action)
            for name, action in self.scopes
            if (repository is None or name in ("*", repository))
            and (not actions or action in ("*", *actions))
        )
        if actions and any(action == "*" for _, action in self.scopes):
            names = {name for name, _ in self.scopes}
            self.scopes = frozenset((name, action) for name in names for action in actions)


def allows(rights: Iterable[Scope], repository: str, action: str) -> bool:
    """Whether rights cover an action on a repository."""
    return any(name in ("*", repository) and given in ("*", action) for name, given in rights)


def parse_scopes(texts: Iterable[str]) -> frozenset[Scope]:
    """Parse scopes (`repository:app/web:pull,push`, several by blanks) into pairs."""
    found: set[Scope] = set()
    for text in " ".join(texts).split():
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind.partition("(")[0] == "repository" and name:
            found |= {(name, action) for action in actions.split(",") if action}
    return frozenset(found)


def rights_of(texts: Iterable[str]) -> frozenset[Scope]:
    """Parse a user's rights: `app/web:pull,push`, `app/web` (to pull), `*` (everything)."""
    found: set[Scope] = set()
    for text in texts:
        name, colon, actions = text.rpartition(":")
        if not colon:
            name, actions = text, "*" if text == "*" else "pull"
        found |= {(name, action) for action in actions.split(",") if action}
    return frozenset(found)


def granted(
    texts: Sequence[str], rights: frozenset[Scope], policy: ScopePolicy = "exact"
) -> frozenset[Scope] | None:
    """What a token service grants of the scopes asked for; None where it refuses (403)."""
    asked = " ".join(texts).split()
    if policy == "last_scope_wins":
        asked = asked[-1:]
    elif policy == "first_scope_wins":
        asked = asked[:1]
    scopes = parse_scopes(asked)
    given = frozenset(one for one in scopes if allows(rights, *one))
    if policy == "refuse_extra" and (len(asked) > 1 or given != scopes):
        return None
    return given


def scope_text(scopes: Iterable[Scope]) -> str:
    """Scopes as the OAuth2 document's answer has them."""
    actions: dict[str, list[str]] = {}
    for name, action in sorted(scopes):
        actions.setdefault(name, []).append(action)
    return " ".join(f"repository:{name}:{','.join(some)}" for name, some in actions.items())


def check_policy(policy: str) -> ScopePolicy:
    """Return a policy by its name; ValueError for another word."""
    for known in SCOPE_POLICIES:
        if known == policy:
            return known
    raise ValueError(f"scope_policy {policy!r}: it must be one of {', '.join(SCOPE_POLICIES)}")


Users = Mapping[str, Sequence[str]]
"""Names of users, each with rights such as `app/web:pull,push`, `app/web` (to pull) or `*`."""
