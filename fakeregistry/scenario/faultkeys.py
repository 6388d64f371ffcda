"""Faults as keys of a rule: ``truncate_after = "1KiB"``, ``drip = { size = 1, every = "20s" }``.

The names and arguments are those of :data:`fakeregistry.faults.FAULTS`, so that a new fault is a
new key without a line here. A plain value is the first argument, a table names its arguments,
``true`` is for a fault without any; ``false`` and ``"forever"`` say None where that is allowed.
Bytes are a text, or a table that names an object of the file (see `objects`).
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from fakeregistry.faults import FAULTS, Fault

from . import objects
from .reader import Table, seconds_of, size_of, suggestion

_FOREVER = "forever"


def faults_of(table: Table, find: objects.Finder) -> tuple[Fault, ...]:
    """The faults among the keys that are left in a rule, in the order in which they stand.

    ``find`` reads the tables that name an object of the file.
    """
    made: list[Fault] = []
    for key in table.left():
        if key in FAULTS:
            fault = _fault(table, key, table.take(key), find)
            if fault is not None:
                made.append(fault)
    return tuple(made)


def _fault(table: Table, name: str, value: Any, find: objects.Finder) -> Fault | None:
    make = FAULTS[name]
    hints = parameters(make)
    if isinstance(value, dict) and not _names_object(value, hints):
        given = value
    elif value is True and not hints:
        given = {}
    elif not hints:
        table.problem(name, f"{name} = {value!r}: it takes no value; say {name} = true")
        return None
    else:
        # `true` alone means the defaults; a fault that needs a value then says so below.
        given = {} if value is True else {next(iter(hints)): value}
    arguments: dict[str, Any] = {}
    for key, item in given.items():
        if key not in hints:
            near = suggestion(key, hints)
            table.problem(name, f"unknown argument {key!r} of {name}{near}")
            return None
        try:
            arguments[key] = _converted(item, hints[key], find)
        except ValueError as error:
            table.problem(name, f"{name}: {key} = {item!r}: {error}")
            return None
    try:
        return make(**arguments)
    except (ValueError, TypeError) as error:
        # A missing argument is a TypeError that speaks of Python: say it in the file's words.
        missing = [key for key in hints if key not in arguments and key in needed(make)]
        said = f"it needs {' and '.join(missing)}" if missing else str(error)
        table.problem(name, said if said.startswith(name) else f"{name}: {said}")
        return None


def parameters(make: Any) -> dict[str, Any]:
    """A fault's arguments and their types, in order."""
    hints = get_type_hints(make)
    return {item.name: hints[item.name] for item in dataclasses.fields(make)}


def needed(make: Any) -> set[str]:
    """A fault's arguments that have no default."""
    return {item.name for item in dataclasses.fields(make) if item.default is dataclasses.MISSING}


def choices(hint: Any) -> set[Any]:
    """The types that an argument takes."""
    return set(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else {hint}


def _names_object(value: dict[str, Any], hints: dict[str, Any]) -> bool:
    """Whether a table is the first argument itself, and no table of arguments."""
    first = choices(next(iter(hints.values()), None))
    return bytes in first and not set(value) & set(hints) and bool(set(value) & set(objects.KEYS))


def _converted(value: Any, hint: Any, find: objects.Finder) -> Any:
    """The value as the argument wants it; ValueError says what it wants."""
    allowed = choices(hint)
    if Any in allowed or object in allowed:
        return value
    if isinstance(value, dict) and any(get_origin(one) is Mapping for one in allowed):
        return value
    if isinstance(value, dict) and bytes in allowed:
        return find(value)
    lists = [one for one in allowed if get_origin(one) is tuple]
    if lists and (len(allowed) == 1 or isinstance(value, list)):
        return _list(value, get_args(lists[0])[0], find)
    if (value is False and bool not in allowed) or value == _FOREVER:
        if type(None) in allowed:
            return None
        raise ValueError("there is always a value here")
    if isinstance(value, bool):
        if bool in allowed:
            return value
    elif isinstance(value, str):
        if str in allowed or bytes in allowed:
            return value if str in allowed else value.encode()
        number = size_of(value) if int in allowed else seconds_of(value)
        if number is not None:
            return number
    elif isinstance(value, int) and (int in allowed or float in allowed):
        return value if int in allowed else float(value)
    elif isinstance(value, float) and float in allowed:
        return value
    raise ValueError(f"it must be {_wanted(allowed)}")


def _list(value: Any, hint: Any, find: objects.Finder) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("it must be a list such as [503, 503, 200]")
    return tuple(_converted(item, hint, find) for item in value)


def _wanted(allowed: set[Any]) -> str:
    words = []
    if int in allowed:
        words.append('a number or a size such as "64KiB"')
    elif float in allowed:
        words.append('a time such as 2.5 or "10s"')
    scalar = any(get_origin(one) is None and one is not type(None) for one in allowed)
    if str in allowed or bytes in allowed or (scalar and not allowed & {int, float, bool}):
        words.append("a text")
    if bytes in allowed:
        words.append("the name of an object such as { image = ID, layer = 0 }")
    if bool in allowed:
        words.append("true or false")
    if any(get_origin(one) is Mapping for one in allowed):
        words.append("a table of values")
    if any(get_origin(one) is tuple for one in allowed):
        words.append("a list")
    if type(None) in allowed:
        words.append('false or "forever" for none')
    return ", or ".join(words)
