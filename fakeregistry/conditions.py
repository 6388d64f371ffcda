"""Conditions: what must be true of a request beside its target, for a rule to mean it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

HeaderCondition = str | bool | Callable[[str], bool]
"""True: present; False: absent; a text: equal; a function: its judgement of the value."""


@dataclass(frozen=True)
class When:
    """The conditions of a rule beside its target; None asks nothing."""

    method: str | None = None
    range: bool | None = None
    authorized: bool | None = None
    header: Mapping[str, HeaderCondition] = field(default_factory=dict)
    query: Mapping[str, HeaderCondition] = field(default_factory=dict)

    def accepts(
        self, method: str, header: Callable[[str], str | None], query: Mapping[str, str]
    ) -> bool:
        """Whether a request is meant, given its method, a look-up of its headers, its query."""
        if self.method is not None and method != self.method.upper():
            return False
        if self.range is not None and (header("range") is not None) != self.range:
            return False
        given = header("authorization") is not None
        if self.authorized is not None and given != self.authorized:
            return False
        return all(_holds(want, header(name)) for name, want in self.header.items()) and all(
            _holds(want, query.get(name)) for name, want in self.query.items()
        )

    @property
    def words(self) -> str:
        """The conditions as a person says them, or nothing."""
        said = [self.method or ""]
        if self.range is not None:
            said.append("with range" if self.range else "without range")
        if self.authorized is not None:
            said.append("with authorization" if self.authorized else "without authorization")
        said += [f"with header {name}" for name in self.header]
        said += [f"with query {name}" for name in self.query]
        return " ".join(word for word in said if word)


def _holds(want: HeaderCondition, value: str | None) -> bool:
    if isinstance(want, bool):
        return (value is not None) == want
    if value is None:
        return False
    return value == want if isinstance(want, str) else want(value)
