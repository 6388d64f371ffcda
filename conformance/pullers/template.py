"""Placeholders in profiles: ``{image}``, ``{hosts_dir}``, ``{options.global}``.

A placeholder is a name in braces; braces around anything else stand for themselves, so that a
daemon's configuration can be written as it is. Values are computed when they are first used:
naming ``{hosts_dir}`` is what writes that tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from conformance.contract import HarnessError

__all__ = ["Values", "expand", "expand_argv", "placeholders"]

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z]+)?)\}")


class Values:
    """Names to text; a value may be a callable that is asked once, when it is needed."""

    def __init__(self, *sources: Mapping[str, str | Callable[[], str]]) -> None:
        self._values: dict[str, str | Callable[[], str]] = {}
        for source in sources:
            self._values.update(source)

    def __getitem__(self, name: str) -> str:
        """The value; raises `HarnessError` when this request has none of that name."""
        try:
            value = self._values[name]
        except KeyError:
            raise HarnessError(f"nothing to put in the place of {{{name}}} here") from None
        if not isinstance(value, str):
            value = value()
            self._values[name] = value
        return value

    def with_(self, *sources: Mapping[str, str | Callable[[], str]], **more: str) -> Values:
        """A copy in which these are known too."""
        return Values(self._values, *sources, more)


def placeholders(texts: Iterable[str]) -> Iterator[str]:
    """The names of all placeholders in these texts."""
    for text in texts:
        yield from _PLACEHOLDER.findall(text)


def expand(text: str, values: Values) -> str:
    """`text` with each placeholder replaced."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def expand_argv(
    argv: Sequence[str], values: Values, slots: Mapping[str, Sequence[str]]
) -> list[str]:
    """The command line: ``{options}`` and ``{options.<slot>}`` become what the slot holds.

    `slots` maps the slot's name (empty for ``{options}``) to arguments that are expanded already.
    """
    result: list[str] = []
    for argument in argv:
        match = _PLACEHOLDER.fullmatch(argument)
        if match is not None and match[1].partition(".")[0] == "options":
            result += slots.get(match[1].partition(".")[2], ())
        else:
            result.append(expand(argument, values))
    return result
